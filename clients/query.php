<?php
// Asks jsdkd for a credential and prints its value:  php clients/query.php [token|ticket|card_ticket]
//   JSDKD_URL=http://127.0.0.1:3030 JSDKD_APPID=wx… JSDKD_REALM=… JSDKD_SECRET=…   JSDKD_ALGORITHM=md5 signs as version 1.
// PHP 7.4 or later, no extension beyond the standard ones.

function jsdkd_query(
    string $url,
    string $appid,
    string $realm,
    string $secret,
    string $key = 'token',
    string $algorithm = 'hmac-sha256'
): string {
    $address = rtrim($url, '/') . '/jsapi/' . rawurlencode($appid) . '/query';
    $nonce = bin2hex(random_bytes(16));
    $ts = (string) (int) (microtime(true) * 1000);
    // The pairs in the order of their encoded names: that is what version 2 signs.
    $pairs = 'key=' . rawurlencode($key) . '&nonce=' . $nonce . '&realm=' . rawurlencode($realm) . '&ts=' . $ts;
    if ($algorithm === 'md5') {
        $sign = md5("realm=$realm&nonce=$nonce&ts=$ts.$secret");
    } else {
        $payload = implode("\n", ['GET', parse_url($address, PHP_URL_PATH), $pairs, hash('sha256', '')]);
        $sign = hash_hmac('sha256', $payload, $secret);
    }

    $context = stream_context_create(['http' => ['timeout' => 15, 'ignore_errors' => true]]);
    $body = @file_get_contents("$address?$pairs&sign=$sign", false, $context);
    if ($body === false) {
        throw new RuntimeException("cannot reach $url");
    }
    $answer = json_decode($body, true);
    if (!isset($answer['value'])) {
        throw new RuntimeException($answer['detail'] ?? $http_response_header[0]);
    }
    return $answer['value'];
}

try {
    echo jsdkd_query(
        (string) getenv('JSDKD_URL'),
        (string) getenv('JSDKD_APPID'),
        (string) getenv('JSDKD_REALM'),
        (string) getenv('JSDKD_SECRET'),
        $argv[1] ?? 'token',
        getenv('JSDKD_ALGORITHM') ?: 'hmac-sha256'
    ), "\n";
} catch (RuntimeException $error) {
    fwrite(STDERR, 'jsdkd: ' . $error->getMessage() . "\n");
    exit(1);
}
