// Asks jsdkd for a credential and prints its value:  node clients/query.mjs [token|ticket|card_ticket]
//   JSDKD_URL=http://127.0.0.1:3030 JSDKD_APPID=wx… JSDKD_REALM=… JSDKD_SECRET=…   JSDKD_ALGORITHM=md5 signs as version 1.
// Node 18 or later, no dependencies.
import { createHash, createHmac, randomBytes } from "node:crypto";

// Percent-encodes everything but A-Z a-z 0-9 - . _ ~.
const encode = (text) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => "%" + char.charCodeAt(0).toString(16).toUpperCase());

export async function query({ url, appid, realm, secret, key = "token", algorithm = "hmac-sha256" }) {
  const address = new URL(`${url.replace(/\/$/, "")}/jsapi/${encode(appid)}/query`);
  const nonce = randomBytes(16).toString("hex");
  const ts = String(Date.now());
  // The pairs in the order of their encoded names: that is what version 2 signs.
  const pairs = Object.entries({ key, nonce, realm, ts }).map(([name, value]) => `${name}=${encode(value)}`).join("&");
  const noBody = createHash("sha256").digest("hex");
  const sign =
    algorithm === "md5"
      ? createHash("md5").update(`realm=${realm}&nonce=${nonce}&ts=${ts}.${secret}`).digest("hex")
      : createHmac("sha256", secret).update(`GET\n${address.pathname}\n${pairs}\n${noBody}`).digest("hex");

  const answer = await fetch(`${address}?${pairs}&sign=${sign}`, { signal: AbortSignal.timeout(15_000) });
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text).value;
  let detail = `HTTP ${answer.status}`;
  try {
    detail = JSON.parse(text).detail ?? detail;
  } catch {
    // Not an answer of jsdkd's: the status is all there is to say.
  }
  throw new Error(detail);
}

const { JSDKD_URL, JSDKD_APPID, JSDKD_REALM, JSDKD_SECRET, JSDKD_ALGORITHM } = process.env;
try {
  console.log(
    await query({
      url: JSDKD_URL,
      appid: JSDKD_APPID,
      realm: JSDKD_REALM,
      secret: JSDKD_SECRET,
      key: process.argv[2],
      algorithm: JSDKD_ALGORITHM,
    }),
  );
} catch (error) {
  console.error(`jsdkd: ${error.message}`);
  process.exitCode = 1;
}
