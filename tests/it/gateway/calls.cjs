// Runs calls by one SDK: node calls.cjs SDK BASE APPID SECRET CALL… prints {"CALL": {"answer": …} or {"error": "…"}, …}.
// The SDKs are built as docs/gateway.md shows. Where an SDK lacks a call, the answer is null.
const { createHash } = require("crypto");
const fs = require("fs");

const [sdk, base, appId, secret, ...calls] = process.argv.slice(2);
const picture = Buffer.from(Array.from({ length: 100_000 }, (_, at) => (at * 7) % 251));
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const person = "oAbcdefghijklmnopqrstuvwxyz0";
const words = "你好 & 再见 <'{}'> +%20";
const page = "https://shop.example.com/a?b=1";
fs.writeFileSync("picture.jpg", picture);

const sdks = {
  "co-wechat-api": () => {
    const WechatAPI = require("co-wechat-api");
    const api = new WechatAPI(appId, secret);
    Object.assign(api, {
      prefix: `${base}/cgi-bin/`,
      snsPrefix: `${base}/sns/`,
      mpPrefix: `${base}/cgi-bin/`,
      fileServerPrefix: `${base}/cgi-bin/`,
      customservicePrefix: `${base}/customservice/`,
      wxaPrefix: `${base}/wxa/`,
    });
    return {
      ip: () => api.getIp(),
      message: () => api.sendText(person, words),
      upload: () => api.uploadMedia("picture.jpg", "image"),
      download: async (id) => sha256(await api.getMedia(id)),
      ticket: () => api.getJsConfig({ url: page, jsApiList: [] }),
      session: (code) => api.code2Session(code),
    };
  },
  "wechat-api": () => {
    const WechatAPI = require("wechat-api");
    const api = new WechatAPI(appId, secret);
    api.endpoint = base;
    const called = (name, ...given) =>
      new Promise((done, failed) => api[name](...given, (error, answer) => (error ? failed(error) : done(answer))));
    return {
      ip: () => called("getIp"),
      message: () => called("sendText", person, words),
      upload: () => called("uploadMedia", "picture.jpg", "image"),
      download: async (id) => sha256(await called("getMedia", id)),
      ticket: () => called("getJsConfig", { url: page, jsApiList: [] }),
      session: null,
    };
  },
  "node-easywechat": () => {
    const { OfficialAccount, MiniApp } = require("node-easywechat");
    const FormData = require("form-data");
    const settings = { app_id: appId, secret, http: { baseURL: `${base}/` } };
    const app = new OfficialAccount(settings);
    const client = app.getClient();
    const object = async (answer) => (await answer).toObject();
    return {
      ip: () => object(client.get("/cgi-bin/getcallbackip")),
      message: () =>
        object(client.post("/cgi-bin/message/custom/send", { json: { touser: person, msgtype: "text", text: { content: words } } })),
      upload: async () => {
        const form = new FormData();
        form.append("media", picture, { filename: "picture.jpg", contentType: "image/jpeg" });
        return object(client.post("/cgi-bin/media/upload", { params: { type: "image" }, data: form, headers: form.getHeaders() }));
      },
      download: async (id) => {
        const answer = await client.get("/cgi-bin/media/get", { params: { media_id: id }, responseType: "arraybuffer" });
        return sha256(Buffer.from(answer.getContent()));
      },
      ticket: () => app.getUtils().buildJsSdkConfig(page),
      session: (code) => new MiniApp(settings).getUtils().codeToSession(code),
    };
  },
  "wechat-jssdk": () => {
    const { Wechat } = require("wechat-jssdk");
    const wechat = new Wechat({
      appId,
      appSecret: secret,
      accessTokenUrl: `${base}/cgi-bin/token`,
      ticketUrl: `${base}/cgi-bin/ticket/getticket`,
      apiUrl: base,
      decodeCardCodeUrl: `${base}/card/code/decrypt`,
      miniProgram: { appId, appSecret: secret, GET_SESSION_KEY_URL: `${base}/sns/jscode2session` },
    });
    return {
      ip: null,
      message: null,
      upload: null,
      download: null,
      ticket: () => wechat.jssdk.getSignature(page),
      session: (code) => wechat.miniProgram.getSession(code),
    };
  },
};

(async () => {
  const api = sdks[sdk]();
  const answers = {};
  for (const call of calls) {
    const [name, given] = call.split("=");
    try {
      const media = answers.upload && answers.upload.answer ? answers.upload.answer.media_id : given;
      answers[name] = { answer: api[name] ? await api[name](name === "download" ? given || media : given) : null };
    } catch (error) {
      const text = error && (error.message || (typeof error === "object" && JSON.stringify(error)));
      answers[name] = { error: String(text || error), code: error && error.code };
    }
  }
  fs.writeSync(1, JSON.stringify(answers));
  process.exit(0);
})();
