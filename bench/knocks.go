//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"knockkit/bench/stage"
	"knockkit/bench/stat"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// knockRate is how many random tokens a second are sent while the program knock knocks.
const knockRate = 60_000

// knockFlood says how the program knock fares with a signed profile in a flood of random tokens.
type knockFlood struct {
	Sent     float64 // random tokens a second that came about
	Runs     int
	Opens    int
	Attempts int         // the most of a run that opened
	Seconds  stat.Sample // from start to end of the program, of those that opened
}

// knocks runs the program knock in a flood, once after the other, each with a key of its own.
func (b *bench) knocks() (r *knockFlood, err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := b.build(dir, "knock"); err != nil {
		return nil, err
	}
	profiles, err := stage.Profiles(1, 10*time.Second)
	if err != nil {
		return nil, err
	}
	port := profiles[0].Open[0].First
	signed, err := stage.Signed("signed", carrier, port)
	if err != nil {
		return nil, err
	}
	c, err := stage.NewCable("knock in a flood", port)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	r = &knockFlood{Runs: b.rounds(40, 5)}
	keys := stage.Keys(signed, r.Runs)
	gate, err := startSigned(b, c.Host, signed, profiles[0], keys)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, gate.service.Stop()) }()

	flooding, stop := context.WithCancel(b)
	defer stop()
	work, ctx := errgroup.WithContext(b)
	packets, start := randomTokens(nil, c.Host.Addr4), time.Now()
	work.Go(func() error {
		sent, err := c.Flood(flooding, packets, knockRate)
		r.Sent = float64(sent) / time.Since(start).Seconds()
		return err
	})
	work.Go(func() error {
		defer stop()
		if err := stage.Wait(ctx, time.Second); err != nil {
			return err
		}
		k := &knockProgram{dir: dir, signed: signed, cable: c}
		return k.runs(ctx, keys, r)
	})
	return r, work.Wait()
}

// knockProgram is the program knock on a cable's client, with a configuration of its own.
type knockProgram struct {
	dir    string
	signed *protocol.Profile
	cable  *stage.Cable
}

// runs runs it with each of the keys, when the lease that the one before has opened is revoked.
func (k *knockProgram) runs(ctx context.Context, keys []protocol.Key, r *knockFlood) error {
	text := fmt.Appendf(nil, "signed = { carrier = \"%s\" }\nopen = [\"%s\"]\n", k.signed.Signed.Carrier, k.signed.Open[0])
	err := errors.Join(os.Mkdir(k.dir+"/profiles", 0o700), os.Mkdir(k.dir+"/keys", 0o700),
		os.WriteFile(filepath.Join(k.dir, "profiles", "signed.toml"), text, 0o600))
	if err != nil {
		return err
	}
	server := stage.Ours("nftables")
	var seconds []float64
	for _, key := range keys {
		err := k.cable.Host.Do(func() error {
			_, err := server.Revoke(ctx, k.signed.Name, netip.PrefixFrom(k.cable.Client.Addr4, 32), false)
			return err
		})
		if err != nil {
			return err
		}
		attempts, took, err := k.run(ctx, key)
		if err != nil {
			return err
		}
		if attempts > 0 {
			seconds, r.Attempts = append(seconds, took.Seconds()), max(r.Attempts, attempts)
		}
	}
	r.Opens, r.Seconds = len(seconds), stat.Of(seconds...)
	return nil
}

// run knocks with a key. It returns after how many attempts the port opened, 0 where it did not.
func (k *knockProgram) run(ctx context.Context, key protocol.Key) (attempts int, took time.Duration, err error) {
	if err := os.WriteFile(filepath.Join(k.dir, "keys", "signed.key"), format.KeyFileText(&format.KeyFile{Key: key}), 0o600); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	out, err := k.cable.Client.Run(ctx, "", "env", "HOME="+k.dir, "XDG_STATE_HOME=", "KNOCK_CONFIG="+k.dir,
		k.dir+"/knock", "--json", "signed@"+k.cable.Host.Addr4.String())
	took = time.Since(start)
	var said struct {
		Results []struct {
			Attempts int `json:"attempts"`
		} `json:"results"`
	}
	if err == nil {
		if err = json.Unmarshal([]byte(out.Stdout), &said); err != nil || len(said.Results) != 1 {
			err = fmt.Errorf("knock says %q, %q: %w", out.Stdout, out.Stderr, err)
		}
	}
	if err != nil || out.Code != 0 {
		return 0, 0, err
	}
	return said.Results[0].Attempts, took, nil
}
