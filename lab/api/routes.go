// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maxBodyBytes  = 64 << 10
	maxPlaces     = 50
	defaultPlaces = 10
	healthTimeout = time.Second
	queryTimeout  = 6 * time.Second
)

// PostgreSQL reads other spellings of a UUID too; one spelling keeps an id comparable as text.
var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

type api struct {
	version     string
	environment string
	broken      bool // built never to become healthy
	originKey   string
	store       store
	cache       cache
	log         *slog.Logger
}

type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// handler is every route, with the origin check and the log around it.
func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "not_found", "there is nothing at "+r.URL.Path)
	})
	route(mux, "/health", "GET", a.health)
	route(mux, "/api/v1/health", "GET", a.health)
	route(mux, "/api/v1/version", "GET", a.showVersion)
	route(mux, "/api/v1/zmanim/places", "GET", a.places)
	for _, prefix := range []string{"/api/v1/writes", "/api/v1/external/writes"} {
		route(mux, prefix, "POST", a.save)
		route(mux, prefix+"/{id}", "GET", a.find)
	}
	return a.logged(a.originOnly(mux))
}

func route(mux *http.ServeMux, path, method string, serve http.HandlerFunc) {
	mux.HandleFunc(method+" "+path, serve)
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", method)
		fail(w, http.StatusMethodNotAllowed, "method_not_allowed", path+" accepts "+method)
	})
}

// originOnly lets through what carries the gateway's key; health is open to all who can reach the port.
func (a *api) originOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := a.originKey == "" || r.URL.Path == "/health" || r.URL.Path == "/api/v1/health"
		given := []byte(r.Header.Get("X-Origin-Verify"))
		if !open && subtle.ConstantTimeCompare(given, []byte(a.originKey)) != 1 {
			fail(w, http.StatusForbidden, "forbidden", "this address answers only through the gateway")
			return
		}
		next.ServeHTTP(w, r)
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (a *api) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorder, r)
		a.log.Info("request", "method", r.Method, "path", r.URL.Path, "status", recorder.status,
			"milliseconds", time.Since(started).Milliseconds(), "request_id", r.Header.Get("X-Request-Id"))
	})
}

func (a *api) health(w http.ResponseWriter, r *http.Request) {
	if a.broken {
		fail(w, http.StatusServiceUnavailable, "broken_build", "this build never becomes healthy")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if err := a.store.ping(ctx); err != nil {
		a.log.Warn("the database does not answer", "error", err.Error())
		fail(w, http.StatusServiceUnavailable, "database_unavailable", "the database does not answer")
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "ok", "database": "ok", "version": a.version})
}

func (a *api) showVersion(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"version": a.version, "environment": a.environment})
}

func (a *api) places(w http.ResponseWriter, r *http.Request) {
	where, err := parseWhere(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	key := where.cacheKey()
	body, hit := a.cache.get(ctx, key)
	if !hit {
		found, err := a.store.nearest(ctx, where.latitude, where.longitude, where.limit)
		if err != nil {
			a.failStore(w, err)
			return
		}
		body = encode(map[string]any{"data": map[string]any{"places": found}})
		a.cache.put(ctx, key, body)
	}
	w.Header().Set("X-Cache-Redis", map[bool]string{true: "hit", false: "miss"}[hit])
	w.Header().Set("Cache-Control", "public, max-age=3600")
	send(w, http.StatusOK, body)
}

type whereabouts struct {
	latitude, longitude float64
	limit               int
}

func (p whereabouts) cacheKey() string {
	return fmt.Sprintf("places:v1:%.4f:%.4f:%d", p.latitude, p.longitude, p.limit)
}

func parseWhere(query url.Values) (whereabouts, error) {
	latitude, latErr := parseDegrees("lat", query.Get("lat"), 90)
	longitude, lonErr := parseDegrees("lon", query.Get("lon"), 180)
	limit, limitErr := defaultPlaces, error(nil)
	if text := query.Get("limit"); text != "" {
		limit, limitErr = strconv.Atoi(text)
		if limitErr != nil || limit < 1 || limit > maxPlaces {
			limitErr = fmt.Errorf("limit is %q: expected a number from 1 to %d", text, maxPlaces)
		}
	}
	return whereabouts{latitude, longitude, limit}, errors.Join(latErr, lonErr, limitErr)
}

// parseDegrees rounds to four decimals (11 m), the grain of the cache.
func parseDegrees(name, text string, most float64) (float64, error) {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || math.Abs(value) > most {
		return 0, fmt.Errorf("%s is %q: expected degrees from -%g to %g", name, text, most, most)
	}
	return math.Round(value*1e4) / 1e4, nil
}

func (a *api) save(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		ID      string `json:"id"`
		Payload string `json:"payload"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes)).Decode(&asked); err != nil {
		fail(w, http.StatusBadRequest, "bad_request", `the body is not {"id": uuid, "payload": text} within 64 KiB`)
		return
	}
	asked.ID = strings.ToLower(asked.ID)
	if !uuidPattern.MatchString(asked.ID) {
		fail(w, http.StatusBadRequest, "bad_request", "id is not a UUID")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	saved, created, err := a.store.save(ctx, asked.ID, asked.Payload)
	if err != nil {
		a.failStore(w, err)
		return
	}
	answer(w, map[bool]int{true: http.StatusCreated, false: http.StatusOK}[created], saved)
}

func (a *api) find(w http.ResponseWriter, r *http.Request) {
	id := strings.ToLower(r.PathValue("id"))
	if !uuidPattern.MatchString(id) {
		fail(w, http.StatusBadRequest, "bad_request", "id is not a UUID")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	found, err := a.store.find(ctx, id)
	if err != nil {
		a.failStore(w, err)
		return
	}
	answer(w, http.StatusOK, found)
}

func (a *api) failStore(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errNotFound):
		fail(w, http.StatusNotFound, "not_found", "no write has this id")
	case errors.Is(err, errConflict):
		fail(w, http.StatusConflict, "conflict", errConflict.Error())
	default:
		a.log.Error("the database refused", "error", err.Error())
		fail(w, http.StatusServiceUnavailable, "database_unavailable", "the database does not answer")
	}
}

func answer(w http.ResponseWriter, status int, data any) {
	w.Header().Set("Cache-Control", "no-store")
	send(w, status, encode(map[string]any{"data": data}))
}

func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Cache-Control", "no-store")
	send(w, status, encode(map[string]any{"error": problem{Code: code, Message: message}}))
}

// encode is given only maps and structs of this file, which always have a JSON form.
func encode(value any) []byte {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return append(body, '\n')
}

func send(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone: nobody is left to tell
}
