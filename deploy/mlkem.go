// Go's TLS client against the gateway: mlkem.go ADDRESS NAME CA. X25519MLKEM768 alone is agreed upon, it is what is chosen of all that
// Go offers, and X25519 is what a client without it gets.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	address, name, ca := os.Args[1], os.Args[2], os.Args[3]
	pem, err := os.ReadFile(ca)
	if err != nil {
		fail(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for _, one := range []struct {
		what     string
		offered  []tls.CurveID
		expected tls.CurveID
	}{
		{"X25519MLKEM768 alone", []tls.CurveID{tls.X25519MLKEM768}, tls.X25519MLKEM768},
		{"what Go offers by itself", nil, tls.X25519MLKEM768},
		{"X25519 alone", []tls.CurveID{tls.X25519}, tls.X25519},
	} {
		config := &tls.Config{RootCAs: roots, ServerName: name, CurvePreferences: one.offered, MinVersion: tls.VersionTLS13}
		client := http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
		request, err := http.NewRequest("GET", "https://"+address+"/", nil)
		if err != nil {
			fail(err)
		}
		request.Host = name
		answer, err := client.Do(request)
		if err != nil {
			fail(fmt.Errorf("%s: %w", one.what, err))
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode != 200 || answer.ProtoMajor != 2 || answer.TLS.CurveID != one.expected {
			fail(fmt.Errorf("%s: %s over %s with %s", one.what, answer.Status, answer.Proto, answer.TLS.CurveID))
		}
		fmt.Println("ok:", one.what, "->", answer.TLS.CurveID)
	}
}

func fail(err error) {
	fmt.Println("FAILED:", err)
	os.Exit(1)
}
