// A site's back end, with Go's own HTTP client: exchanges a code for an openid, then fetches the token.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

type openid struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
	Data    string `json:"data"`
}

type token struct {
	Success     bool   `json:"success"`
	Message     string `json:"message"`
	AccessToken string `json:"access_token"`
	Expiration  int    `json:"expiration"`
}

func get(path string, into interface{}) {
	request, err := http.NewRequest("GET", os.Getenv("SERVER")+path, nil)
	if err != nil {
		panic(err)
	}
	request.Host = os.Getenv("HOST")
	request.Header.Set("Authorization", os.Getenv("TOKEN"))
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Do(request)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		panic(err)
	}
}

func main() {
	var first, second openid
	var fetched token
	get("/api/wechat/user?code="+os.Getenv("CODE"), &first)
	get("/api/wechat/user?code="+os.Getenv("CODE"), &second)
	get("/api/wechat/access_token", &fetched)
	fmt.Println(first.Success, first.Data, second.Success, second.Message != "", fetched.Success, fetched.AccessToken, fetched.Expiration > 7000)
}
