// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	errNotFound = errors.New("not found")
	errConflict = errors.New("the id is taken by another payload")
)

type place struct {
	ID        int     `json:"id"`
	Name      string  `json:"name"`
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	DistanceM float64 `json:"distance_m"`
}

type write struct {
	ID        string    `json:"id"`
	Payload   string    `json:"payload"`
	WrittenAt time.Time `json:"written_at"`
}

// store is what the routes need from the database.
type store interface {
	ping(ctx context.Context) error
	nearest(ctx context.Context, latitude, longitude float64, limit int) ([]place, error)
	// save returns after commit; created is false when the same write was there already.
	save(ctx context.Context, id, payload string) (saved write, created bool, err error)
	find(ctx context.Context, id string) (write, error)
}

type postgresStore struct{ pool *pgxpool.Pool }

// openPostgres does not connect: a database that is briefly absent must not keep the process from starting.
func openPostgres(ctx context.Context, databaseURL string) (*postgresStore, error) {
	settings, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, errors.New("DATABASE_URL is not understood: expected postgres://user:password@host:port/database")
	}
	settings.MaxConns = 8
	settings.MaxConnIdleTime = time.Minute
	settings.MaxConnLifetime = 30 * time.Minute
	settings.HealthCheckPeriod = 10 * time.Second
	settings.ConnConfig.ConnectTimeout = 2 * time.Second
	settings.ConnConfig.RuntimeParams["application_name"] = "zmanim-api"
	settings.ConnConfig.RuntimeParams["statement_timeout"] = "5000"
	settings.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "5000"
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("the connection pool cannot be made: %w", err)
	}
	return &postgresStore{pool: pool}, nil
}

func (s *postgresStore) ping(ctx context.Context) error {
	var one int
	return s.pool.QueryRow(ctx, "select 1").Scan(&one)
}

const nearestQuery = `
select id, name, st_y(geom::geometry), st_x(geom::geometry), st_distance(geom, here.point)
from places, (select st_setsrid(st_makepoint($1, $2), 4326)::geography as point) as here
order by geom <-> here.point, id
limit $3`

func (s *postgresStore) nearest(ctx context.Context, latitude, longitude float64, limit int) ([]place, error) {
	rows, err := s.pool.Query(ctx, nearestQuery, longitude, latitude, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[place])
}

const saveQuery = `
insert into writes (id, payload) values ($1, $2)
on conflict (id) do nothing
returning id::text, payload, written_at`

// save's statement is its own transaction: the row comes back only after commit.
func (s *postgresStore) save(ctx context.Context, id, payload string) (write, bool, error) {
	var saved write
	err := s.pool.QueryRow(ctx, saveQuery, id, payload).Scan(&saved.ID, &saved.Payload, &saved.WrittenAt)
	if err == nil {
		return saved, true, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return write{}, false, err
	}
	saved, err = s.find(ctx, id)
	if err == nil && saved.Payload != payload {
		return write{}, false, errConflict
	}
	return saved, false, err
}

func (s *postgresStore) find(ctx context.Context, id string) (write, error) {
	var found write
	err := s.pool.QueryRow(ctx, "select id::text, payload, written_at from writes where id = $1", id).
		Scan(&found.ID, &found.Payload, &found.WrittenAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return write{}, errNotFound
	}
	return found, err
}
