// Backends of which each answers after a time of its own: tails.go MILLISECONDS... prints a port for each; "stuck" never answers.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	for _, said := range os.Args[1:] {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		millis, err := strconv.Atoi(said)
		answer := func(w http.ResponseWriter, r *http.Request) {
			if err != nil {
				<-r.Context().Done()
				return
			}
			time.Sleep(time.Duration(millis) * time.Millisecond)
			fmt.Fprintln(w, "ok")
		}
		go http.Serve(listener, http.HandlerFunc(answer))
		fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	}
	select {}
}
