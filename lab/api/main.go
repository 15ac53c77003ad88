// SPDX-License-Identifier: GPL-3.0-or-later

// Command zmanim-api is the reference API of the lab: the contract that the image and the
// AWS side are built around (environment, health, origin check, JSON), on PostGIS and Redis.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Set by the linker: -X main.version=1.0.0 -X main.neverHealthy=yes.
var (
	version      = "0.0.0-dev"
	neverHealthy = ""
)

// drainTimeout bounds what a stop may cost; the handover counts on it.
const drainTimeout = 5 * time.Second

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(version)
		return
	}
	logger := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Getenv, logger); err != nil {
		fmt.Fprintln(os.Stderr, "zmanim-api:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, getenv func(string) string, logger *slog.Logger) error {
	cfg, err := loadConfig(getenv)
	if err != nil {
		return err
	}
	database, err := openPostgres(context.WithoutCancel(ctx), cfg.databaseURL)
	if err != nil {
		return err
	}
	defer database.pool.Close()
	memory, err := openRedis(cfg.redisURL)
	if err != nil {
		return err
	}
	defer func() { _ = memory.client.Close() }()
	service := &api{
		version: version, environment: cfg.environment, broken: neverHealthy != "",
		originKey: cfg.originKey, store: database, cache: memory, log: logger,
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.address)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", cfg.address, err)
	}
	logger.Info("listening", "address", cfg.address, "version", version, "environment", cfg.environment)
	return serve(ctx, listener, service.handler(), logger)
}

// serve answers until ctx ends, then closes the listener at once and lets what is in flight finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, logger *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("the listener stopped: %w", err)
	case <-ctx.Done():
	}
	logger.Info("draining", "at_most", drainTimeout.String())
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		_ = server.Close()
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("requests were still running after %s and were cut", drainTimeout)
		}
		return err
	}
	return nil
}
