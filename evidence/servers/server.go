// Go, stopped as the documentation of net/http has it: Shutdown, and main waits for it.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	plain, tls, folder := os.Args[1], os.Args[2], os.Args[3]
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello world")
	})
	http.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		bytes, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, bytes)
	})
	http.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		for left := 20; left > 0; left-- {
			time.Sleep(5 * time.Millisecond)
			io.WriteString(w, strings.Repeat("x", 1024))
			w.(http.Flusher).Flush()
		}
	})
	one := &http.Server{Addr: "127.0.0.1:" + plain}
	two := &http.Server{Addr: "127.0.0.1:" + tls}
	go one.ListenAndServe()
	go two.ListenAndServeTLS(folder+"/cert.pem", folder+"/key.pem")

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	stopped := make(chan struct{})
	go func() {
		two.Shutdown(context.Background())
		close(stopped)
	}()
	one.Shutdown(context.Background())
	<-stopped
}
