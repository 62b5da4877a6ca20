// Asks jsdkd for a credential and prints its value:  go run clients/query.go [token|ticket|card_ticket]
//
//	JSDKD_URL=http://127.0.0.1:3030 JSDKD_APPID=wx… JSDKD_REALM=… JSDKD_SECRET=…   JSDKD_ALGORITHM=md5 signs as version 1.
//
// Go 1.19 or later, standard library alone.
package main

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

func query(base, appid, realm, secret, key, algorithm string) (string, error) {
	address, err := url.Parse(strings.TrimSuffix(base, "/") + "/jsapi/" + encode(appid) + "/query")
	if err != nil {
		return "", err
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	nonce, ts := hex.EncodeToString(random), fmt.Sprint(time.Now().UnixMilli())
	// The pairs in the order of their encoded names: that is what version 2 signs.
	pairs := fmt.Sprintf("key=%s&nonce=%s&realm=%s&ts=%s", encode(key), nonce, encode(realm), ts)
	var sign string
	if algorithm == "md5" {
		sign = fmt.Sprintf("%x", md5.Sum([]byte(fmt.Sprintf("realm=%s&nonce=%s&ts=%s.%s", realm, nonce, ts, secret))))
	} else {
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "GET\n%s\n%s\n%x", address.EscapedPath(), pairs, sha256.Sum256(nil))
		sign = hex.EncodeToString(mac.Sum(nil))
	}

	address.RawQuery = pairs + "&sign=" + sign
	client := http.Client{Timeout: 15 * time.Second}
	answer, err := client.Get(address.String())
	if err != nil {
		// The error of net/http quotes the signed address; its cause does not.
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return "", err
	}
	defer answer.Body.Close()
	var body struct{ Value, Detail string }
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || body.Value == "" && body.Detail == "" {
		return "", fmt.Errorf("HTTP %d", answer.StatusCode)
	}
	if answer.StatusCode != http.StatusOK {
		return "", errors.New(body.Detail)
	}
	return body.Value, nil
}

// encode percent-encodes everything but A-Z a-z 0-9 - . _ ~.
func encode(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

func main() {
	key := "token"
	if len(os.Args) > 1 {
		key = os.Args[1]
	}
	value, err := query(os.Getenv("JSDKD_URL"), os.Getenv("JSDKD_APPID"), os.Getenv("JSDKD_REALM"), os.Getenv("JSDKD_SECRET"), key,
		os.Getenv("JSDKD_ALGORITHM"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "jsdkd:", err)
		os.Exit(1)
	}
	fmt.Println(value)
}
