// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// config is what the environment decides; secrets in it are never logged.
type config struct {
	address     string // host:port to listen on
	environment string
	databaseURL string
	redisURL    string
	originKey   string // empty: requests are not checked
}

// loadConfig reads the environment through get and names every variable that is missing or wrong.
func loadConfig(get func(string) string) (config, error) {
	host := get("HOST")
	if host == "" {
		host = "127.0.0.1"
	}
	port, portErr := parsePort(get("PORT"))
	cfg := config{
		address:     net.JoinHostPort(host, strconv.Itoa(port)),
		environment: get("ENVIRONMENT"),
		databaseURL: get("DATABASE_URL"),
		redisURL:    get("REDIS_URL"),
		originKey:   get("ORIGIN_VERIFY_KEY"),
	}
	return cfg, errors.Join(
		portErr,
		checkURL("DATABASE_URL", cfg.databaseURL, "postgres", "postgresql"),
		checkURL("REDIS_URL", cfg.redisURL, "redis", "rediss", "unix"),
	)
}

func parsePort(text string) (int, error) {
	if text == "" {
		return 8080, nil
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("PORT is %q: expected a number from 1 to 65535", text)
	}
	return port, nil
}

// checkURL does not repeat the value in its error: it holds a password.
func checkURL(name, value string, schemes ...string) error {
	if value == "" {
		return fmt.Errorf("%s is not set: expected a %s:// URL", name, schemes[0])
	}
	parsed, err := url.Parse(value)
	if err != nil {
		return fmt.Errorf("%s is not a URL: is its password percent-encoded?", name)
	}
	for _, scheme := range schemes {
		if parsed.Scheme == scheme {
			return nil
		}
	}
	return fmt.Errorf("%s has scheme %q: expected %s", name, parsed.Scheme, strings.Join(schemes, " or "))
}
