/* jsdkd.js: a jsdkd server signs this page, wx.config gets the answer. ES5 and Promise.
   jsdkd.config({appid, jsApiList, openTagList, debug, server, wx, url, timeout}).then(function (wx) {…}) */
(function (window, document) {
  'use strict';
  // iOS signs the address first entered, Android the current one.
  var entered = location.href;
  var ios = window.__wxjs_is_wkwebview || /iP(hone|ad|od)/.test(navigator.userAgent);
  var script = document.currentScript || document.querySelector('script[src*="jsdkd"]');
  var home = script && script.src.replace(/[?#].*/, '').replace(/\/[^\/]*$/, '');
  var last = {};

  function config(o) {
    var wx = o.wx || window.wx;
    var to = (o.server || home || '').replace(/\/+$/, '') + '/jsapi/' + encodeURIComponent(o.appid) + '/config';
    var text = JSON.stringify({
      url: (o.url || (ios ? entered : location.href)).split('#')[0],
      jsApiList: o.jsApiList || [],
      openTagList: o.openTagList,
      debug: o.debug
    });

    // The same page needs no second signature.
    if (last.wx === wx && last.key === to + text) return last.promise;
    var mine = last = { wx: wx, key: to + text };
    return mine.promise = new Promise(function (resolve, reject) {
      var xhr = new XMLHttpRequest();
      var waiting = to;
      var timer = setTimeout(function () {
        fail('no answer in time from ' + waiting, { code: 'timeout' });
        xhr.abort();
      }, o.timeout || 10000);

      function fail(message, more) {
        clearTimeout(timer);
        if (last === mine) last = {};
        var error = new Error(message);
        for (var name in more) error[name] = more[name];
        reject(error);
      }

      if (!wx || !wx.config) {
        return fail('no wx: include https://res.wx.qq.com/open/js/jweixin-1.6.0.js first', { code: 'no_wx' });
      }
      xhr.open('POST', to);
      xhr.setRequestHeader('Content-Type', 'application/json');
      xhr.onerror = function () {
        fail('cannot reach ' + to + ', or its cors list refuses ' + location.origin, { code: 'network' });
      };
      xhr.onload = function () {
        var answer;
        try { answer = JSON.parse(xhr.responseText); } catch (e) {}
        if (xhr.status !== 200 || !answer || !answer.signature) {
          return fail(answer && answer.detail || to + ' answered ' + xhr.status, answer);
        }
        waiting = 'WeChat: is the page open in it?';
        wx.config(answer);
        wx.error(function (e) { fail('wx.config: ' + e.errMsg, { code: 'wx_error', errMsg: e.errMsg }); });
        // From the second config on, ready fires at once: leave an error time to come.
        var early = true;
        wx.ready(function () {
          setTimeout(function () {
            clearTimeout(timer);
            resolve(wx);
          }, early ? 500 : 0);
        });
        early = false;
      };
      xhr.send(text);
    });
  }

  window.jsdkd = { config: config };
})(window, document);
