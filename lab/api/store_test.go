// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// TestStoreOnPostgres runs where ZMANIM_TEST_DATABASE_URL names a database with the migrations applied.
func TestStoreOnPostgres(t *testing.T) {
	databaseURL := os.Getenv("ZMANIM_TEST_DATABASE_URL")
	if databaseURL == "" {
		t.Skip("ZMANIM_TEST_DATABASE_URL is not set")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	database, err := openPostgres(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer database.pool.Close()
	if _, err := database.pool.Exec(ctx, "delete from writes where id = $1", sampleID); err != nil {
		t.Fatal(err)
	}
	saved, created, err := database.save(ctx, sampleID, "one")
	if err != nil || !created || saved.ID != sampleID {
		t.Errorf("first save: %+v created %v error %v", saved, created, err)
	}
	again, created, err := database.save(ctx, sampleID, "one")
	if err != nil || created || !again.WrittenAt.Equal(saved.WrittenAt) {
		t.Errorf("second save: %+v created %v error %v", again, created, err)
	}
	if _, _, err = database.save(ctx, sampleID, "two"); !errors.Is(err, errConflict) {
		t.Errorf("another payload: %v", err)
	}
	found, err := database.nearest(ctx, 31.77, 35.21, 3)
	if err != nil || len(found) != 3 || found[0].Name != "Jerusalem" || found[0].DistanceM > 1000 {
		t.Errorf("nearest: %+v error %v", found, err)
	}
}
