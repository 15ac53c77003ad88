// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const sampleID = "0b0e7e7e-5a6f-4f5e-9a3f-0d1c2b3a4f5e"

type fakeStore struct {
	down   bool
	writes map[string]write
	reads  int
}

var errDown = errors.New("connection refused")

func (f *fakeStore) ping(context.Context) error {
	if f.down {
		return errDown
	}
	return nil
}

func (f *fakeStore) nearest(_ context.Context, latitude, longitude float64, limit int) ([]place, error) {
	f.reads++
	if f.down {
		return nil, errDown
	}
	return []place{{ID: 1, Name: "Jerusalem", Latitude: latitude, Longitude: longitude, DistanceM: float64(limit)}}, nil
}

func (f *fakeStore) save(_ context.Context, id, payload string) (write, bool, error) {
	if f.down {
		return write{}, false, errDown
	}
	if old, there := f.writes[id]; there {
		if old.Payload != payload {
			return write{}, false, errConflict
		}
		return old, false, nil
	}
	f.writes[id] = write{ID: id, Payload: payload, WrittenAt: time.Unix(0, 0)}
	return f.writes[id], true, nil
}

func (f *fakeStore) find(_ context.Context, id string) (write, error) {
	found, there := f.writes[id]
	if !there {
		return write{}, errNotFound
	}
	return found, nil
}

type fakeCache struct {
	down   bool
	values map[string][]byte
}

func (f *fakeCache) get(_ context.Context, key string) ([]byte, bool) {
	value, there := f.values[key]
	return value, there && !f.down
}

func (f *fakeCache) put(_ context.Context, key string, value []byte) {
	if !f.down {
		f.values[key] = value
	}
}

func newAPI() (*api, *fakeStore, *fakeCache) {
	database := &fakeStore{writes: map[string]write{}}
	memory := &fakeCache{values: map[string][]byte{}}
	return &api{
		version: "1.2.3", environment: "test", store: database, cache: memory,
		log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}, database, memory
}

func ask(a *api, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	a.handler().ServeHTTP(recorder, request)
	return recorder
}

func expect(t *testing.T, got *httptest.ResponseRecorder, status int, parts ...string) {
	t.Helper()
	if got.Code != status {
		t.Errorf("status %d, expected %d: %s", got.Code, status, got.Body)
	}
	if !json.Valid(got.Body.Bytes()) {
		t.Errorf("the body is not JSON: %s", got.Body)
	}
	for _, part := range parts {
		if !strings.Contains(got.Body.String(), part) {
			t.Errorf("the body lacks %s: %s", part, got.Body)
		}
	}
}

func TestHealthSaysWhatTheDatabaseSays(t *testing.T) {
	a, database, _ := newAPI()
	for _, path := range []string{"/health", "/api/v1/health"} {
		expect(t, ask(a, "GET", path, ""), 200, `"status":"ok"`, `"database":"ok"`, `"version":"1.2.3"`)
	}
	database.down = true
	expect(t, ask(a, "GET", "/health", ""), 503, `"code":"database_unavailable"`)
}

func TestBrokenBuildIsNeverHealthyButAnswers(t *testing.T) {
	a, _, _ := newAPI()
	a.broken = true
	expect(t, ask(a, "GET", "/health", ""), 503, `"code":"broken_build"`)
	expect(t, ask(a, "GET", "/api/v1/version", ""), 200, `"1.2.3"`)
}

func TestOriginKeyGuardsAllButHealth(t *testing.T) {
	a, _, _ := newAPI()
	a.originKey = "let-me-in"
	expect(t, ask(a, "GET", "/health", ""), 200)
	expect(t, ask(a, "GET", "/api/v1/health", ""), 200)
	expect(t, ask(a, "GET", "/api/v1/version", ""), 403, `"code":"forbidden"`)
	expect(t, ask(a, "GET", "/nothing", ""), 403)
	expect(t, ask(a, "GET", "/api/v1/version", "", "X-Origin-Verify", "let-me"), 403)
	expect(t, ask(a, "GET", "/api/v1/version", "", "X-Origin-Verify", "let-me-in"), 200)
}

func TestWriteIsIdempotentByID(t *testing.T) {
	a, database, _ := newAPI()
	body := `{"id":"` + strings.ToUpper(sampleID) + `","payload":"one"}`
	expect(t, ask(a, "POST", "/api/v1/writes", body), 201, sampleID)
	expect(t, ask(a, "POST", "/api/v1/external/writes", body), 200, `"payload":"one"`)
	expect(t, ask(a, "POST", "/api/v1/writes", strings.Replace(body, "one", "two", 1)), 409, `"code":"conflict"`)
	expect(t, ask(a, "GET", "/api/v1/writes/"+sampleID, ""), 200, `"payload":"one"`)
	if len(database.writes) != 1 {
		t.Errorf("%d writes, expected 1", len(database.writes))
	}
}

func TestWriteIsNotAcknowledgedWithoutTheDatabase(t *testing.T) {
	a, database, _ := newAPI()
	database.down = true
	expect(t, ask(a, "POST", "/api/v1/writes", `{"id":"`+sampleID+`","payload":"x"}`), 503)
}

func TestBadInput(t *testing.T) {
	a, _, _ := newAPI()
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/api/v1/writes", `{`, 400, "bad_request"},
		{"POST", "/api/v1/writes", `{"id":"1","payload":""}`, 400, "bad_request"},
		{"POST", "/api/v1/writes", `{"id":"` + sampleID + `","payload":"` + strings.Repeat("x", maxBodyBytes) + `"}`, 400, "bad_request"},
		{"GET", "/api/v1/writes/1", "", 400, "bad_request"},
		{"GET", "/api/v1/writes/" + sampleID, "", 404, "not_found"},
		{"DELETE", "/api/v1/writes", "", 405, "method_not_allowed"},
		{"GET", "/nothing", "", 404, "not_found"},
		{"GET", "/api/v1/zmanim/places", "", 400, "bad_request"},
		{"GET", "/api/v1/zmanim/places?lat=91&lon=0", "", 400, "bad_request"},
		{"GET", "/api/v1/zmanim/places?lat=NaN&lon=0", "", 400, "bad_request"},
		{"GET", "/api/v1/zmanim/places?lat=1&lon=1&limit=51", "", 400, "bad_request"},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			expect(t, ask(a, c.method, c.path, c.body), c.status, `"code":"`+c.code+`"`)
		})
	}
}

func TestPlacesAreCachedAndReadWithoutTheCache(t *testing.T) {
	a, database, memory := newAPI()
	path := "/api/v1/zmanim/places?lat=31.76832&lon=35.21371&limit=3"
	first, second := ask(a, "GET", path, ""), ask(a, "GET", path, "")
	expect(t, first, 200, `"Jerusalem"`, `"latitude":31.7683`, `"distance_m":3`)
	expect(t, second, 200)
	if first.Body.String() != second.Body.String() || second.Header().Get("X-Cache-Redis") != "hit" || database.reads != 1 {
		t.Errorf("the second answer did not come from the cache: %d reads", database.reads)
	}
	if got := second.Header().Get("Cache-Control"); got != "public, max-age=3600" {
		t.Errorf("Cache-Control is %q", got)
	}
	memory.down = true
	expect(t, ask(a, "GET", path, ""), 200, `"Jerusalem"`)
	if database.reads != 2 {
		t.Errorf("%d reads without the cache, expected 2", database.reads)
	}
}

func TestNothingPrivateIsCacheable(t *testing.T) {
	a, _, _ := newAPI()
	for _, path := range []string{"/health", "/api/v1/version", "/nothing", "/api/v1/zmanim/places"} {
		if got := ask(a, "GET", path, "").Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control is %q", path, got)
		}
	}
}
