// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

const cacheLifetime = time.Hour

// cache may forget anything at any time: a miss and a failure are the same to its user.
type cache interface {
	get(ctx context.Context, key string) ([]byte, bool)
	put(ctx context.Context, key string, value []byte)
}

type redisCache struct{ client *redis.Client }

// openRedis does not connect. Timeouts are short and nothing is retried: without Redis the API is slower, not down.
func openRedis(redisURL string) (*redisCache, error) {
	options, err := redis.ParseURL(redisURL)
	if err != nil {
		return nil, errors.New("REDIS_URL is not understood: expected redis://:password@host:port/number")
	}
	options.DialTimeout = 200 * time.Millisecond
	options.ReadTimeout = 200 * time.Millisecond
	options.WriteTimeout = 200 * time.Millisecond
	options.PoolTimeout = 200 * time.Millisecond
	options.ContextTimeoutEnabled = true
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.PoolSize = 8
	return &redisCache{client: redis.NewClient(options)}, nil
}

func (c *redisCache) get(ctx context.Context, key string) ([]byte, bool) {
	value, err := c.client.Get(ctx, key).Bytes()
	return value, err == nil
}

func (c *redisCache) put(ctx context.Context, key string, value []byte) {
	// A value that is not cached is read again from PostgreSQL: the error changes nothing.
	_ = c.client.Set(ctx, key, value, cacheLifetime).Err()
}
