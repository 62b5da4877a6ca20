import os

bind_ip = '0.0.0.0'
bind_port = 8888

token_sources = {}

# weixin example
token_sources['weixin'] = {
    'url':'https://api.weixin.qq.com/cgi-bin/token',
    'method':'GET',
    'args':{
        'grant_type':'client_credential',
        'appid':'wx0123456789abcdef',
        'secret':'app-secret-marker'
    }
}

#A example config for weixin JSSDK ticket
token_sources['weixin_jsticket'] = {
	'url':'https://api.weixin.qq.com/cgi-bin/ticket/getticket',
	'method':'GET',
	'args':{
	    'type':'jsapi',
	    'access_token':'{{results.weixin.access_token}}' #这里使用了微信access_token作为请求参数"
	},
}

token_sources['other'] = {
    'url': 'https://api.example.com/token',
    'args': {'secret': os.environ['OTHER_SECRET']},
}

print('ready')
