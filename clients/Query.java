// Asks jsdkd for a credential and prints its value:  java clients/Query.java [token|ticket|card_ticket]
//   JSDKD_URL=http://127.0.0.1:3030 JSDKD_APPID=wx… JSDKD_REALM=… JSDKD_SECRET=…   JSDKD_ALGORITHM=md5 signs as version 1.
// Java 17 or later, no dependencies.

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.HexFormat;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Query {
    static String query(String url, String appid, String realm, String secret, String key, boolean md5)
            throws IOException, InterruptedException, GeneralSecurityException {
        URI address = URI.create(url.replaceAll("/$", "") + "/jsapi/" + encode(appid) + "/query");
        String nonce = UUID.randomUUID().toString().replace("-", "");
        long ts = System.currentTimeMillis();
        // The pairs in the order of their encoded names: that is what version 2 signs.
        String pairs = "key=" + encode(key) + "&nonce=" + nonce + "&realm=" + encode(realm) + "&ts=" + ts;
        String sign;
        if (md5) {
            sign = digest("MD5", "realm=" + realm + "&nonce=" + nonce + "&ts=" + ts + "." + secret);
        } else {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(bytes(secret), "HmacSHA256"));
            String payload = String.join("\n", "GET", address.getRawPath(), pairs, digest("SHA-256", ""));
            sign = HexFormat.of().formatHex(mac.doFinal(bytes(payload)));
        }

        HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
        HttpRequest request =
                HttpRequest.newBuilder(URI.create(address + "?" + pairs + "&sign=" + sign)).timeout(Duration.ofSeconds(15)).build();
        var answer = client.send(request, BodyHandlers.ofString());
        if (answer.statusCode() == 200) {
            return field("value", answer.body(), "");
        }
        throw new IOException(field("detail", answer.body(), "HTTP " + answer.statusCode()));
    }

    // Percent-encodes everything but A-Z a-z 0-9 - . _ ~.
    static String encode(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20").replace("*", "%2A").replace("%7E", "~");
    }

    static String digest(String algorithm, String text) throws GeneralSecurityException {
        return HexFormat.of().formatHex(MessageDigest.getInstance(algorithm).digest(bytes(text)));
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    // The JDK reads no JSON, and one text field is all we want; a program that has a JSON library uses that.
    static String field(String name, String json, String otherwise) {
        Matcher found = Pattern.compile("\"" + name + "\":\\s*\"((?:[^\"\\\\]|\\\\.)*)\"").matcher(json);
        return found.find() ? found.group(1).replaceAll("\\\\([\"\\\\/])", "$1") : otherwise;
    }

    public static void main(String[] args) throws Exception {
        var env = System.getenv();
        try {
            System.out.println(query(
                    env.get("JSDKD_URL"),
                    env.get("JSDKD_APPID"),
                    env.get("JSDKD_REALM"),
                    env.get("JSDKD_SECRET"),
                    args.length > 0 ? args[0] : "token",
                    "md5".equals(env.get("JSDKD_ALGORITHM"))));
        } catch (IOException failed) {
            System.err.println("jsdkd: " + failed.getMessage());
            System.exit(1);
        }
    }
}
