package doctor

import (
	"context"
	"errors"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/conns"
	"knockkit/internal/rights"
	"knockkit/protocol"
	"knockkit/server"
)

// readHost reads the host: the network namespace of the caller's thread. What it cannot read is in
// Unread; an error says that ctx has ended.
func readHost(ctx context.Context, in Input) (*facts, error) {
	f := &facts{Input: in, now: time.Now()}
	for _, name := range []string{"iptables", "nftables"} {
		if err := try(ctx, name); errors.Is(err, rights.ErrNoNetwork) {
			f.miss("whether backend "+name+" works", err)
		} else {
			f.Trials = append(f.Trials, trial{name, err})
		}
	}
	f.readOurs(ctx)
	f.readRules(ctx, f.Status.Saved)
	f.readKernel(ctx)
	f.readNetwork()
	f.readSigned()
	var err error
	f.Listeners, err = conns.Listeners()
	f.miss("the sockets that listen", err)
	return f, ctx.Err()
}

// miss adds something that could not be read.
func (f *facts) miss(what string, err error) {
	if err != nil {
		f.Unread = append(f.Unread, unread{what, err})
	}
}

// whatInstalled names what is installed, where that could not be read.
const whatInstalled = "what is installed"

// readOurs reads our rules, through the backend that has rules or would have them.
func (f *facts) readOurs(ctx context.Context) {
	b, _, err := server.OpenLive(ctx, f.Settings.Backend)
	if err == nil {
		f.Status, err = server.New(b, f.Settings).Status(ctx, f.Files, nil)
		f.Status.Backend = b.Name()
	}
	if err != nil {
		f.Status.Profiles = nil
		for _, p := range f.Files {
			if p.Enabled {
				f.Status.Profiles = append(f.Status.Profiles, server.ProfileStatus{Profile: p, State: server.StateNotInstalled, Enabled: true})
			}
		}
	}
	f.miss(whatInstalled, err)
	f.Status.AddBroken(f.Broken)
	for _, b := range f.Broken {
		if b.Unread() {
			f.miss("the file of profile "+b.Profile, b.Err)
		}
	}
}

// Examine reads the host and returns its findings, worst first. An error says that ctx has ended.
func Examine(ctx context.Context, in Input) ([]Finding, error) {
	f, err := readHost(ctx, in)
	if err != nil {
		return nil, err
	}
	var all []Finding
	followed := func(follow func(*facts) *book) func(*facts) []Finding {
		return func(f *facts) (all []Finding) {
			b := follow(f)
			for _, e := range b.entries {
				all = append(all, b.say(e))
			}
			return all
		}
	}
	for _, check := range []func(*facts) []Finding{
		unreadable, backends, installed, drift, notInForce, flavours,
		followed(gates), followed(knocks), followed(untracked), conntrack, followed(otherFamily),
		tableSize, tableFull, reversePaths, clock, running, keysOfProfiles,
	} {
		all = append(all, check(f)...)
	}
	rank := func(f Finding) int { return slices.Index([]Severity{Broken, Warning, Note, OK}, f.Severity) }
	slices.SortStableFunc(all, func(x, y Finding) int { return rank(x) - rank(y) })
	return all, nil
}

// ShadowInput is what the caller of [Shadows] has read already.
type ShadowInput struct {
	Backend  string              // by which the profiles are installed
	Profiles []*protocol.Profile // as installed
	Network  server.Network
	Saved    []backend.Saved // iptables' tables in the backend's reading; others are read
	Anew     bool            // Saved was read before an install, which has put our jumps first
}

// Shadows says which rules of others make gates of these profiles useless, and which perhaps let
// strangers past them. It reads less than [Examine] and is quick: for an install. It leaves out what
// it cannot read. It says how many knocks are dropped and not which, since its words go into logs.
// An error says that ctx has ended.
func Shadows(ctx context.Context, in ShadowInput) (certain, possible []server.Reason, err error) {
	if len(in.Profiles) == 0 {
		return nil, nil, nil
	}
	f := &facts{}
	f.Status.Backend = in.Backend
	for _, p := range in.Profiles {
		f.Status.Profiles = append(f.Status.Profiles, server.ProfileStatus{Profile: p, State: server.StateInstalled})
	}
	f.use(in.Network)
	f.readRules(ctx, in.Saved)
	if in.Anew {
		f.Host.forgetJumps()
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	knocked := knocks(f)
	knocked.counted = true
	for _, b := range []*book{gates(f), knocked, untracked(f)} {
		for _, e := range b.entries {
			found := b.say(e)
			reason := server.Reason{Kind: server.ReasonOthers, Profile: e.profile, Found: found.Found, Why: found.Why, Todo: found.Todo}
			switch {
			case found.Severity == Broken:
				certain = append(certain, reason)
			case found.Severity == Warning && found.ID == IDBypass:
				possible = append(possible, reason)
			}
		}
	}
	return certain, possible, nil
}
