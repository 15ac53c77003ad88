// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestConfigNamesEveryFault(t *testing.T) {
	_, err := loadConfig(environment(map[string]string{
		"PORT": "none", "DATABASE_URL": "mysql://u:hidden@h/d",
	}))
	if err == nil {
		t.Fatal("a wrong environment was accepted")
	}
	for _, part := range []string{"PORT", "DATABASE_URL", "REDIS_URL is not set"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), "hidden") {
		t.Errorf("the error shows a password: %v", err)
	}
}

func TestConfigDefaults(t *testing.T) {
	cfg, err := loadConfig(environment(map[string]string{
		"DATABASE_URL": "postgres://zmanim:p%40ss@127.0.0.1/zmanim", "REDIS_URL": "redis://127.0.0.1:6379/0",
	}))
	if err != nil || cfg.address != "127.0.0.1:8080" {
		t.Errorf("address %q, error %v", cfg.address, err)
	}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func TestStartsWithoutDatabaseAndRedis(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	_, port, _ := net.SplitHostPort(address)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, environment(map[string]string{
			"PORT": port, "DATABASE_URL": "postgres://u:p@127.0.0.1:9/d", "REDIS_URL": "redis://127.0.0.1:9/0",
		}), quiet)
	}()
	response := getWhenListening(t, "http://"+address+"/health")
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != 503 {
		t.Errorf("health without a database is %d", response.StatusCode)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the stop failed: %v", err)
	}
}

func getWhenListening(t *testing.T, url string) *http.Response {
	t.Helper()
	var last error
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		response, err := http.Get(url)
		if err == nil {
			return response
		}
		last = err
	}
	t.Fatalf("nothing listens: %v", last)
	return nil
}

func TestStopClosesTheListenerAtOnceAndFinishesWhatIsInFlight(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		fmt.Fprint(w, "finished")
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, handler, quiet) }()
	answer := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		body, _ := io.ReadAll(response.Body)
		answer <- string(body)
	}()
	<-entered
	stop()
	refused := false
	for deadline := time.Now().Add(2 * time.Second); !refused && time.Now().Before(deadline); {
		connection, err := net.DialTimeout("tcp", listener.Addr().String(), time.Second)
		refused = err != nil
		if err == nil {
			_ = connection.Close()
		}
	}
	if !refused {
		t.Error("the listener is still open while requests drain")
	}
	close(release)
	if got := <-answer; got != "finished" {
		t.Errorf("the request in flight ended with %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("the stop failed: %v", err)
	}
}
