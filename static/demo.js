/* The demo page: has an address signed through jsdkd.js, does the same sum by itself and shows both. It needs the demo server's
   own route demo/ticket, which hands out what a real server never does: {ticket, appid, sandbox, phone, curl, virtual_secret}. The logins are
   demo-login.js's. */
(function () {
  'use strict';

  const words = {
    'zh-CN': {
      busy: '正在签名……',
      equal: '一致：浏览器自己算出的签名与服务器返回的完全相同。',
      differs: '不一致：两个签名不同。',
      noDemo: '这个页面需要演示服务器，请运行 jsdkd demo 后打开它打印的地址。',
      copy: '复制', copied: '已复制',
      hash: '# 及其后的内容不参与签名，已去掉。',
      amp: '地址里有 &amp;：多半是模板做了 HTML 转义，真实页面地址里应是 &。',
      encoded: '整个地址是编码过的：服务器会解码一次再签名。',
      twice: '出现了 %25：可能编码了两次。',
      share: '带有微信分享时追加的参数：它们属于地址，必须一起签名。',
      oauth: '这是网页授权地址：应当签授权之后回到的落地页。',
      slash: '域名后面没有斜杠；浏览器的 location.href 里总是有的。',
      port: '微信只允许 80 和 443 端口。',
      host: '这个主机名只适合演示：微信要求登记过的域名，不能是 IP 或 localhost。',
      http: '是 http：如果页面实际用 https 打开，签名就会不符。'
    },
    en: {
      busy: 'Signing…',
      equal: 'Equal: the signature computed in this browser is the one the server sent.',
      differs: 'The two signatures differ.',
      noDemo: 'This page needs the demo server: run jsdkd demo and open the address it prints.',
      copy: 'Copy', copied: 'Copied',
      hash: 'The # and what follows is never signed; it was dropped.',
      amp: 'The address contains &amp;: most likely a template escaped it for HTML, the real one has a plain &.',
      encoded: 'The whole address is percent-encoded: the server decodes it once, then signs.',
      twice: 'It contains %25: perhaps it was encoded twice.',
      share: 'It carries parameters that WeChat appends to shared pages: they are part of the address and must be signed.',
      oauth: 'This is an OAuth address: sign the page that people land on afterwards.',
      slash: 'No slash after the host; the browser\'s location.href always has one.',
      port: 'WeChat allows only ports 80 and 443.',
      host: 'Good enough for a demo, but WeChat wants a registered domain, neither an IP address nor localhost.',
      http: 'It says http: if people open the page by https, the signature will not match.'
    }
  };
  const jsApiList = ['updateAppMessageShareData', 'updateTimelineShareData', 'scanQRCode'];
  const root = document.documentElement;
  const at = function (id) { return document.getElementById(id); };
  let round = 0;
  let repaint = function () {};

  async function sign() {
    const mine = ++round;
    const address = at('address').value = at('address').value.trim() || location.href;
    show('busy', function (w) { return w.busy; }, address);
    try {
      const config = await ask(address);
      const demo = await facts();
      if (mine !== round) return;
      const url = signedPart(address);
      const parts = [['jsapi_ticket=', demo.ticket, 't'], ['&noncestr=', config.nonceStr, 'n'], ['&timestamp=', String(config.timestamp), 's'], ['&url=', url, 'u']];
      const ours = sha1(parts.map(function (part) { return part[0] + part[1]; }).join(''));
      at('in-ticket').textContent = demo.ticket;
      at('in-nonce').textContent = config.nonceStr;
      at('in-time').textContent = config.timestamp;
      at('in-url').textContent = url;
      at('string1').replaceChildren.apply(at('string1'), parts.map(function (part) { return coloured(part[0] + part[1], part[2]); }));
      at('ours').textContent = ours;
      at('theirs').textContent = config.signature;
      at('config').textContent = JSON.stringify(config, null, 2);
      at('steps').hidden = false;
      if (ours === config.signature) show('equal', function (w) { return w.equal; }, address);
      else show('fault', function (w) { return w.differs; }, address);
    } catch (error) {
      if (mine !== round) return;
      at('steps').hidden = true;
      show('fault', function (w) { return error.word ? w[error.word] : error.message + (error.code ? ' [' + error.code + ']' : ''); }, address);
    }
  }

  /* What wx.config would receive: the real helper with a stand-in for WeChat's script. */
  async function ask(address) {
    const demo = await facts();
    let got;
    const wx = { config: function (c) { got = c; }, ready: function (f) { setTimeout(f); }, error: function () {} };
    await jsdkd.config({ appid: demo.appid, url: address, jsApiList: jsApiList, wx: wx });
    return got;
  }

  async function facts() {
    const answer = await fetch('demo/ticket').catch(function () { return {}; });
    if (!answer.ok) throw { word: 'noDemo' };
    return answer.json();
  }

  /* The server's own rule: wholly encoded addresses are decoded once, and nothing from # on is signed. */
  function signedPart(address) {
    let plain = address;
    if (/^https?%3A/i.test(address)) {
      try { plain = decodeURIComponent(address); } catch (error) { /* Half an escape: it stays as it is. */ }
    }
    return plain.split('#')[0];
  }

  function noticed(address) {
    const plain = signedPart(address);
    const host = (/^https?:\/\/([^\/?#:]*)(:\d+)?/i.exec(plain) || []);
    const found = [];
    const when = function (is, word) { if (is) found.push(word); };
    when(address.indexOf('#') >= 0 || /%23/.test(address) && plain !== address, 'hash');
    when(plain !== address && address.indexOf('#') < 0, 'encoded');
    when(/&amp;/.test(plain), 'amp');
    when(/%25[0-9a-f]{2}/i.test(plain), 'twice');
    when(/[?&](from=(singlemessage|groupmessage|timeline)|isappinstalled=)/.test(plain), 'share');
    when(/^https?:\/\/open\.weixin\.qq\.com\/connect\//i.test(plain), 'oauth');
    when(/^https?:\/\/[^\/]+$/i.test(plain), 'slash');
    const demoOnly = /^(localhost|[\d.]+|\[.*)$/i.test(host[1] || '');
    when(demoOnly, 'host');
    when(!demoOnly && host[2] && host[2] !== ':80' && host[2] !== ':443', 'port');
    when(!demoOnly && /^http:/i.test(plain), 'http');
    return found;
  }

  function show(state, text, address) {
    repaint = function () {
      const w = words[root.lang];
      at('verdict').textContent = text(w);
      at('notes').replaceChildren.apply(at('notes'), noticed(address).map(function (word) {
        const item = document.createElement('li');
        item.textContent = w[word];
        return item;
      }));
      document.querySelectorAll('.command button').forEach(function (button) { button.textContent = w.copy; });
    };
    at('verdict').dataset.state = state;
    repaint();
  }

  function coloured(text, name) {
    const span = document.createElement('span');
    span.className = name;
    span.textContent = text;
    return span;
  }

  function commands(demo) {
    const home = location.href.replace(/[?#].*/, '').replace(/\/[^\/]*$/, '');
    at('snippet').textContent =
      '<script src="https://res.wx.qq.com/open/js/jweixin-1.6.0.js"></' + 'script>\n<script src="' + home + '/jsdkd.js"></' + 'script>\n<script>\n' +
      '  jsdkd.config({ appid: "' + demo.appid + '", jsApiList: ["scanQRCode"] })\n' +
      '    .then(function (wx) { wx.scanQRCode({ needResult: 1 }); })\n    .catch(function (error) { alert(error.message); });\n</' + 'script>';
    const lines = demo.curl || ['curl ' + home + '/jsapi/' + demo.appid + '/config \\\n  -H "Content-Type: application/json" \\\n  -d \'{"url":"https://example.com/"}\''];
    at('curl').replaceChildren.apply(at('curl'), lines.map(function (line) {
      const box = document.createElement('div');
      const pre = document.createElement('pre');
      const button = document.createElement('button');
      box.className = 'command';
      pre.textContent = line;
      button.type = 'button';
      button.addEventListener('click', function () { copy(line, pre, button); });
      box.append(pre, button);
      return box;
    }));
    if (demo.virtual_secret) at('sdks').replaceChildren.apply(at('sdks'), sdks(home, demo.appid, demo.virtual_secret).map(function (sdk) {
      const details = document.createElement('details');
      const summary = document.createElement('summary');
      const pre = document.createElement('pre');
      summary.textContent = sdk[0];
      pre.textContent = sdk[1];
      details.append(summary, pre);
      return details;
    }));
    at('appid').textContent = demo.appid;
    at('sandbox').textContent = demo.sandbox || '';
  }

  /* The recipes of docs/gateway.md, each with the same call: the addresses of WeChat's servers. */
  function sdks(home, appid, secret) {
    return [
      ['wechatpy (Python)',
        'import requests\nfrom wechatpy import WeChatClient\n\nclass Gateway(requests.adapters.HTTPAdapter):\n' +
        '    def send(self, request, **options):\n        request.url = request.url.replace("https://api.weixin.qq.com", "' + home + '", 1)\n' +
        '        return super().send(request, **options)\n\nclient = WeChatClient("' + appid + '", "' + secret + '")\n' +
        'client._http.mount("https://api.weixin.qq.com/", Gateway())\nprint(client.misc.get_wechat_ips())'],
      ['co-wechat-api (Node)',
        'const WechatAPI = require("co-wechat-api");\nconst api = new WechatAPI("' + appid + '", "' + secret + '");\n' +
        'api.prefix = "' + home + '/cgi-bin/";\napi.getIp().then(console.log);'],
      ['node-easywechat (Node)',
        'const { OfficialAccount } = require("node-easywechat");\nconst app = new OfficialAccount({\n  app_id: "' + appid + '",\n  secret: "' + secret + '",\n' +
        '  http: { baseURL: "' + home + '/" },\n});\napp.getClient().get("/cgi-bin/getcallbackip").then((answer) => console.log(answer.toObject()));'],
      ['EasyWeChat (PHP)',
        "$app = new EasyWeChat\\OfficialAccount\\Application([\n    'app_id' => '" + appid + "',\n    'secret' => '" + secret + "',\n" +
        "    'http' => ['base_uri' => '" + home + "/'],\n]);\nvar_dump($app->getClient()->get('/cgi-bin/getcallbackip')->toArray());"],
      ['WxJava (Java)',
        'WxMpHostConfig hosts = new WxMpHostConfig();\nhosts.setApiHost("' + home + '");\nconfig.setHostConfig(hosts);\n' +
        'config.setAppId("' + appid + '");\nconfig.setSecret("' + secret + '");\nservice.setWxMpConfigStorage(config);\n' +
        'System.out.println(Arrays.toString(service.getCallbackIP()));']
    ];
  }

  /* The clipboard's own interface exists only on https and localhost; a phone in the LAN gets the old way. */
  function copy(line, pre, button) {
    if (navigator.clipboard) navigator.clipboard.writeText(line);
    else {
      getSelection().selectAllChildren(pre);
      document.execCommand('copy');
    }
    button.textContent = words[root.lang].copied;
  }

  /* SHA-1 in plain JavaScript, because crypto.subtle too exists only on https and localhost. */
  function sha1(text) {
    const bytes = new TextEncoder().encode(text);
    const words = new Uint32Array((bytes.length + 9 + 63 >> 6) << 4);
    bytes.forEach(function (byte, i) { words[i >> 2] |= byte << 24 - i % 4 * 8; });
    words[bytes.length >> 2] |= 0x80 << 24 - bytes.length % 4 * 8;
    words[words.length - 1] = bytes.length * 8;
    const turn = function (x, n) { return x << n | x >>> 32 - n; };
    const h = Uint32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0);
    const w = new Uint32Array(80);
    for (let block = 0; block < words.length; block += 16) {
      let [a, b, c, d, e] = h;
      for (let t = 0; t < 80; t++) {
        w[t] = t < 16 ? words[block + t] : turn(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
        const mixed = t < 20 ? (b & c | ~b & d) + 0x5a827999
          : t < 40 ? (b ^ c ^ d) + 0x6ed9eba1
            : t < 60 ? (b & c | b & d | c & d) + 0x8f1bbcdc : (b ^ c ^ d) + 0xca62c1d6;
        [a, b, c, d, e] = [turn(a, 5) + mixed + e + w[t] | 0, a, turn(b, 30), c, d];
      }
      [a, b, c, d, e].forEach(function (x, i) { h[i] += x; });
    }
    return Array.from(h, function (x) { return x.toString(16).padStart(8, '0'); }).join('');
  }

  function speak(lang) {
    root.lang = lang;
    try { sessionStorage.setItem('lang', lang); } catch (e) { /* Then the choice lasts as long as the page. */ }
    document.querySelectorAll('nav button').forEach(function (button) {
      button.setAttribute('aria-pressed', String(button.dataset.lang === lang));
    });
    repaint();
  }

  function chosen() {
    try { return sessionStorage.getItem('lang'); } catch (e) { return ''; }
  }

  document.querySelectorAll('nav button').forEach(function (button) {
    button.addEventListener('click', function () { speak(button.dataset.lang); });
  });
  at('form').addEventListener('submit', function (event) {
    event.preventDefault();
    sign();
  });
  speak(chosen() || (/^zh/i.test(navigator.language) ? 'zh-CN' : 'en'));
  at('steps').hidden = true;
  facts().then(function (demo) {
    commands(demo);
    demoLogin(demo);
  }, function () { /* sign tells. */ }).then(function () {
    // A login that came back has taken its words out of the address by now.
    at('address').value = location.href;
    return sign();
  }).then(function () {
    // The steps above it have pushed it out of sight.
    if (at('visitor').firstChild) at('login').scrollIntoView();
  });
})();
