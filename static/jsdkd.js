/* jsdkd.js: the browser's half of jsdkd. ES5 and Promise. Each call returns a promise; `server` is where this script is from.
   jsdkd.config({appid, jsApiList, openTagList, debug, server, wx, url, timeout})   wx, once wx.config has accepted our signature
   jsdkd.login({appid, mode, scope, redirect, state, server})                       {ticket, state}, or {code, state} for mode 'relay'
   jsdkd.scan({element, appid, size, alt, onstate, server})                         {user, uuid, app_id}; has a cancel() */
(function (window, document) {
  'use strict';
  // iOS signs the address first entered, Android the current one. A router may have been faster.
  var entered = location.href;
  try {
    var entry = performance.getEntriesByType('navigation')[0].name;
    if (!entry.indexOf(location.origin + '/')) entered = entry;
  } catch (e) {}
  var ios = window.__wxjs_is_wkwebview || /iP(hone|ad|od)/.test(navigator.userAgent);
  var script = document.currentScript || document.querySelector('script[src*="jsdkd"]');
  var home = script && script.src.replace(/[?#].*/, '').replace(/\/[^\/]*$/, '');
  var last = {};

  function at(o, path) {
    return (o.server || home || '').replace(/\/+$/, '') + path;
  }

  function failure(message, more) {
    var error = new Error(message);
    for (var name in more) error[name] = more[name];
    return error;
  }

  // done(status, answer): 0 without an answer, {} without JSON.
  function ask(method, to, text, timeout, done) {
    var xhr = new XMLHttpRequest();
    xhr.open(method, to);
    xhr.timeout = timeout;
    if (text) xhr.setRequestHeader('Content-Type', 'application/json');
    xhr.onload = xhr.onerror = xhr.ontimeout = function () {
      var answer;
      try { answer = JSON.parse(xhr.responseText); } catch (e) {}
      done(xhr.status, answer || {});
    };
    xhr.send(text);
    return xhr;
  }

  function config(o) {
    var wx = o.wx || window.wx;
    var to = at(o, '/jsapi/' + encodeURIComponent(o.appid) + '/config');
    var text = JSON.stringify({
      url: (o.url || (ios ? entered : location.href)).split('#')[0],
      jsApiList: o.jsApiList || [],
      openTagList: o.openTagList,
      debug: o.debug
    });

    // One signature a page.
    if (last.wx === wx && last.key === to + text) return last.promise;
    var mine = last = { wx: wx, key: to + text };
    return mine.promise = new Promise(function (resolve, reject) {
      var waiting = to;
      var xhr;
      var timer = setTimeout(function () {
        fail('no answer in time from ' + waiting, { code: 'timeout' });
        if (xhr) xhr.abort();
      }, o.timeout || 10000);

      function fail(message, more) {
        clearTimeout(timer);
        if (last === mine) last = {};
        reject(failure(message, more));
      }

      if (!wx || !wx.config) {
        return fail('no wx: include https://res.wx.qq.com/open/js/jweixin-1.6.0.js first', { code: 'no_wx' });
      }
      xhr = ask('POST', to, text, 0, function (status, answer) {
        if (!status) {
          return fail('cannot reach ' + to + ', or its cors list refuses ' + location.origin, { code: 'network' });
        }
        if (status !== 200 || !answer.signature) return fail(answer.detail || to + ' answered ' + status, answer);
        waiting = 'WeChat: is the page open in it?';
        wx.config(answer);
        wx.error(function (e) {
          fail('wx.config: ' + e.errMsg, { code: 'wx_error', errMsg: e.errMsg });
          if (/invalid signature/i.test(e.errMsg)) explain(to, answer);
        });
        // From the second config on ready fires at once: wait for an error.
        var early = true;
        wx.ready(function () {
          setTimeout(function () {
            clearTimeout(timer);
            resolve(wx);
          }, early ? 500 : 0);
        });
        early = false;
      });
    });
  }

  // Prints why WeChat refuses the signature.
  function explain(to, signed) {
    signed.pageUrl = ios ? entered : location.href;
    ask('POST', to.replace(/config$/, 'explain'), JSON.stringify(signed), 10000, function (status, found) {
      if (status === 200) console.error('jsdkd: ' + (found.difference || found.finding) + ': ' + found.detail);
    });
  }

  // login: to WeChat and back. The state, 'jsdkd.TIME.RANDOM', proves that it began in this tab.
  var KEPT = 'jsdkd.login';
  var reasons = {
    access_denied: 'the visitor did not agree',
    snapshot_user: 'the visitor saw a snapshot of the page; who opens the whole page can log in',
    state_mismatch: 'this address is from a login that this tab did not begin, or has used already',
    no_answer: 'the visitor came back a moment after leaving, and the address holds no answer',
    no_storage: 'sessionStorage does not work in this browser, so a login could not be told from another one when it comes back'
  };
  // A router may soon change the address.
  var back = parameter('state') && location.search;
  var left;
  var answered = {};

  function parameter(name, search) {
    var found = new RegExp('[?&]' + name + '=([^&]*)').exec(search || location.search);
    return found && (name !== 'state' || /^jsdkd\.\w+\.\w+$/.test(found[1])) ? found[1] : '';
  }

  function isOlder(state, seconds) {
    return !(parseInt(state.split('.')[1], 36) > Date.now() - seconds * 1000);
  }

  function kept() {
    try { return JSON.parse(sessionStorage.getItem(KEPT)) || {}; } catch (e) { return {}; }
  }

  function keep(what) {
    jsdkd.returned = false;
    try { sessionStorage.setItem(KEPT, JSON.stringify(what)); } catch (e) {}
  }

  function login(o) {
    // Calls at about the same time get the same.
    if (Date.now() < answered.until) return answered.promise;
    return answered.promise = new Promise(function (resolve) { resolve(back ? arrive(o) : leave(o)); });
  }

  function arrive(o) {
    var word = o.mode === 'relay' ? 'code' : 'ticket';
    var search = back;
    var state = parameter('state', search);
    var error = parameter('error', search);
    var mine = kept();
    back = '';
    strip(state, ['state', 'error', word]);
    if (mine.state !== state) {
      // A link that was passed on begins anew. A new one may be ours, forgotten here.
      if (isOlder(state, 600)) return leave(o);
      error = 'state_mismatch';
    }
    keep({});
    answered.until = Date.now() + (error ? 1000 : 10000);
    var result = { state: mine.own };
    result[word] = decodeURIComponent(parameter(word, search));
    if (!error && !result[word]) error = 'no_answer';
    if (error) refuse(error);
    return result;
  }

  function leave(o) {
    var before = kept().state;
    var random = Array.prototype.map.call(crypto.getRandomValues(new Uint32Array(4)), function (n) { return n.toString(36); });
    var state = 'jsdkd.' + Date.now().toString(36) + '.' + random.join('');
    if (before && before !== left && !isOlder(before, 10)) {
      keep({});
      refuse('no_answer');
    }
    keep({ state: left = state, own: o.state });
    if (kept().state !== state) refuse('no_storage');
    var link = document.createElement('a');
    link.href = o.redirect || location.href;
    var query = { redirect: link.href, mode: o.mode, scope: o.scope, state: state };
    location.replace(at(o, '/oauth/' + encodeURIComponent(o.appid) + '?') + Object.keys(query).filter(function (name) {
      return query[name];
    }).map(function (name) {
      return name + '=' + encodeURIComponent(query[name]);
    }).join('&'));
    return new Promise(function () {});
  }

  function refuse(code) {
    throw failure(reasons[code] || code, { code: code });
  }

  // Takes what came back out of the address.
  function strip(state, names) {
    if (parameter('state') !== state) return;
    var own = location.search.slice(1).split('&').filter(function (pair) { return names.indexOf(pair.split('=')[0]) < 0; });
    var href = location.href.replace(location.search, function () { return own.length ? '?' + own.join('&') : ''; });
    history.replaceState(history.state, '', href);
  }

  // scan: shows a QR code until it is scanned. `onstate` gets 'loading', 'waiting' (and the server's answer), 'retrying'.
  function scan(o) {
    var box = typeof o.element === 'string' ? document.querySelector(o.element) : o.element;
    var tell = o.onstate || function () {};
    var picture = new Image(o.size || 240, o.size || 240);
    var pause = 1;
    var xhr, timer, end, over;
    var promise = new Promise(function (resolve, reject) {
      end = function (error, answer) {
        over = true;
        clearTimeout(timer);
        if (xhr) xhr.abort();
        if (picture.parentNode) picture.parentNode.removeChild(picture);
        if (error) reject(error);
        else resolve(answer);
      };
    });
    promise.cancel = function () { end(failure('the login was cancelled', { code: 'cancelled' })); };

    function begin() {
      if (over) return;
      var to = at(o, '/login') + (o.appid ? '?appid=' + encodeURIComponent(o.appid) : '');
      xhr = ask('POST', to, null, 20000, function (status, answer) {
        if (status !== 201 || !answer.qrcode_url) return trouble(begin, status, answer);
        picture.src = answer.qrcode_url.replace('?', '.svg?');
        box.appendChild(picture);
        tell('waiting', answer);
        poll(answer);
      });
      tell('loading');
    }

    function poll(login) {
      if (over) return;
      var asked = Date.now();
      // Longer than the server holds it.
      xhr = ask('GET', login.query_url + '?wait=25s', null, 40000, function (status, answer) {
        if (status === 200 && answer.user) return end(null, answer);
        if (answer.code === 'unknown_login') return later(begin);
        if (answer.code !== 'not_scanned_yet') return trouble(poll.bind(null, login), status, answer);
        pause = 1;
        timer = setTimeout(poll.bind(null, login), Math.max(0, asked + 1000 - Date.now()));
      });
    }

    // Retries what can pass.
    function trouble(again, status, answer) {
      if (status >= 400 && status < 500 && status !== 408 && status !== 429) {
        return end(failure(answer.detail || 'the server answered ' + status, answer));
      }
      tell('retrying');
      later(again, status && xhr.getResponseHeader('Retry-After'));
    }

    function later(again, seconds) {
      timer = setTimeout(again, (seconds > 0 ? seconds : pause) * 1000);
      pause = Math.min(pause * 2, 30);
    }

    picture.alt = o.alt || '微信扫码登录 Scan with WeChat to log in';
    picture.onerror = function () {
      var src = picture.src;
      setTimeout(function () { if (picture.parentNode && picture.src === src) picture.src = src; }, 3000);
    };
    if (box) begin();
    else end(failure('there is no element ' + o.element + ' to show the QR code in', { code: 'no_element' }));
    return promise;
  }

  var jsdkd = window.jsdkd = { config: config, login: login, scan: scan, returned: !!back && kept().state === parameter('state') };
})(window, document);
