/* The demo page's card of logins, by jsdkd.js. It needs the demo server's own route demo/user, which plays a site's back end.
   Whatever it says stands there in both languages; demo.css hides the one that is not chosen. */
(function () {
  'use strict';

  const at = function (id) { return document.getElementById(id); };

  /* Opens both doors; `demo` is what demo/ticket answers. */
  window.demoLogin = function (demo) {
    at('login-snippet').textContent =
      '// In WeChat: out, and back to this page. Your back end asks for the user.\n' +
      'jsdkd.login({ appid: "' + demo.appid + '" })\n' +
      '  .then(function (got) {\n    return fetch("/session", { method: "POST", body: got.ticket });\n  });\n\n' +
      '// On a desktop: a QR code, and the name of whoever scanned.\n' +
      'jsdkd.scan({ appid: "' + demo.appid + '", element: "#qr" })\n  .then(function (got) { alert(got.user.nickname); });';
    forPhones(demo);
    at('go').disabled = false;
    at('go').addEventListener('click', function () { visit(demo); });
    at('again').addEventListener('click', function () { offer(demo); });
    if (jsdkd.returned) visit(demo);
    offer(demo);
  };

  /* Inside WeChat: out, and back to this page with a ticket. */
  function visit(demo) {
    jsdkd.login({ appid: demo.appid }).then(async function (got) {
      const answer = await fetch('demo/user?ticket=' + encodeURIComponent(got.ticket));
      const user = await answer.json();
      if (!answer.ok) throw Object.assign(new Error(user.detail), user);
      return user;
    }).then(greet(at('visitor'), '后端得到：', 'Your back end learns:'), excuse(at('visitor')));
  }

  /* On a desktop: a QR code until somebody has scanned it. */
  function offer(demo) {
    const over = function (then) {
      return function (came) {
        at('other-ways').hidden = true;
        at('again').hidden = false;
        then(came);
      };
    };
    at('scanned').replaceChildren();
    at('other-ways').hidden = true;
    at('again').hidden = true;
    jsdkd.scan({ appid: demo.appid, element: at('qr'), onstate: shown }).then(function (got) { return got.user; })
      .then(over(greet(at('scanned'), '页面得到：', 'The page learns:')), over(excuse(at('scanned'))));
  }

  function shown(state, login) {
    if (state !== 'waiting') return;
    // The path of the picture's address is what it shows, encoded twice.
    at('by-hand').href = decodeURIComponent(decodeURIComponent(new URL(login.qrcode_url).pathname.replace('/qrcode/', '')));
    at('other-ways').hidden = false;
  }

  function forPhones(demo) {
    const here = /^(localhost|127\.|\[)/.test(location.hostname);
    if (!here) return;
    at('for-phones').append.apply(at('for-phones'), demo.phone
      ? both('要用手机扫，请先在这台电脑上打开 ' + demo.phone + '/demo.html', 'To scan with a phone, first open ' + demo.phone + '/demo.html on this computer')
      : both('要用手机扫，请用 jsdkd demo --bind 0.0.0.0 启动', 'To scan with a phone, start it as jsdkd demo --bind 0.0.0.0'));
  }

  function greet(box, chinese, english) {
    return function (user) {
      const all = document.createElement('pre');
      all.textContent = JSON.stringify(user, null, 2);
      tell(box, 'known', both('你好，' + user.nickname + '！' + chinese, 'Hello, ' + user.nickname + '! ' + english).concat(all));
    };
  }

  function excuse(box) {
    return function (error) {
      const known = {
        access_denied: both('没有登录：你没有同意。', 'Not logged in: you did not agree.'),
        login_declined: both('没有登录：扫码的人没有同意。', 'Not logged in: whoever scanned did not agree.'),
        snapshot_user: both('没有登录：快照页的访客并不存在。', 'Not logged in: a snapshot visitor is nobody.')
      };
      tell(box, 'fault', known[error.code] || [error.message + (error.code ? ' [' + error.code + ']' : '')]);
    };
  }

  function tell(box, state, what) {
    box.dataset.state = state;
    box.replaceChildren.apply(box, what);
    box.scrollIntoView({ block: 'nearest' });
  }

  function both(chinese, english) {
    return [['zh-CN', chinese], ['en', english]].map(function (words) {
      const span = document.createElement('span');
      span.lang = words[0];
      span.textContent = words[1];
      return span;
    });
  }
})();
