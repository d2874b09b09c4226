package server

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// ProfileState compares a profile's file with the kernel.
type ProfileState string

// The states of a profile.
const (
	StateInstalled    ProfileState = "installed"
	StateChanged      ProfileState = "changed"       // installed, and its file or knockd.toml was edited since
	StateNotInstalled ProfileState = "not installed" // a file only
	StateDisabled     ProfileState = "disabled"      // a file with enabled = false
	StateNoFile       ProfileState = "no file"       // installed, and its file is gone
)

// ProfileStatus is one profile of a [Status].
type ProfileStatus struct {
	Profile *protocol.Profile // as installed, else as in the file; of a file that cannot be used its name only
	State   ProfileState
	Enabled bool  // there is a file, and it does not say enabled = false
	Broken  error // why the file cannot be used; nil: it can
}

// BrokenFile is a file that cannot be used, and why.
type BrokenFile struct {
	Profile string // "" for knockd.toml
	Err     error
}

// Unread reports whether the caller may not read the file: what it says is not known then.
func (b BrokenFile) Unread() bool { return errors.Is(b.Err, fs.ErrPermission) }

// Live reports whether the kernel runs the profile.
func (p ProfileStatus) Live() bool {
	return p.State == StateInstalled || p.State == StateChanged || p.State == StateNoFile
}

// Status is everything that there is to know about a host.
type Status struct {
	Backend  string
	Policy   protocol.Policy // as installed
	Profiles []ProfileStatus // by name
	Sources  []Source
	Drift    []string
	Foreign  []string
	Fill     []Fill
	Advice   []Reason // of [ReasonRoom] or [ReasonSmall]

	// Of signed profiles:
	Signed   bool       // one is installed
	NoTokens bool       // the kernel has no tokens that are valid now
	Opens    time.Time  // until then they are shut; the zero value: they are not
	Why      ShutReason // why they are

	Knocking  map[string]int // number of sources in a position, by profile, as far as they were read
	Positions int            // sources in a position, listed in Sources or not; -1: not known
	Saved     []Saved        // the host's iptables, as the reading has them
}

// Status reads the host and compares it with files, the profiles of the configuration folder. names
// limit the answer to some profiles, none means all. Errors: [ErrPrivilege], [ErrUnsupported], the
// context's, those of the tools.
func (s *Server) Status(ctx context.Context, files []*protocol.Profile, names []string) (Status, error) {
	r, err := s.settled(ctx, depthOfStatus)
	if err != nil {
		return Status{}, err
	}
	st := StatusOf(r, files, names)
	st.Backend = s.backend.Name()
	if b, ok := s.backend.(tokenBackend); ok && slices.ContainsFunc(r.Profiles, (*protocol.Profile).IsSigned) {
		is, err := b.Tokens(ctx)
		if err != nil {
			return st, err
		}
		has := false
		has, st.Opens, st.Why = tokensNow(is, time.Now())
		st.Signed, st.NoTokens = true, !has
	}
	if len(r.Profiles) > 0 {
		st.Advice, err = s.tableAdvice(ctx, st.Fill)
	}
	return st, err
}

// StatusOf compares a reading of the kernel with the files.
func StatusOf(r *Reading, files []*protocol.Profile, names []string) Status {
	asked := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	st := Status{Policy: r.Policy, Drift: r.Drift, Foreign: r.Foreign, Fill: r.Fill, Positions: r.Positions, Knocking: r.Knocking, Saved: r.Saved}
	byName := map[string]*protocol.Profile{}
	for _, f := range files {
		byName[f.Name] = f
	}
	for _, p := range merge(files, r.Profiles) {
		if asked(p.Name) {
			f := byName[p.Name]
			st.Profiles = append(st.Profiles, ProfileStatus{Profile: p, State: stateOf(p, f, r.Profiles), Enabled: f != nil && f.Enabled})
		}
	}
	for _, src := range backend.LongestLeases(r.Sources) {
		if src.State != backend.Fallen && (src.Profile == "" || asked(src.Profile)) {
			st.Sources = append(st.Sources, src)
		}
	}
	return st
}

// AddBroken adds profiles whose files cannot be used. One that is installed is changed: its file is
// not what it was. Of one that may not be read that is not known.
func (s *Status) AddBroken(files []BrokenFile) {
	for _, f := range files {
		i := slices.IndexFunc(s.Profiles, func(p ProfileStatus) bool { return p.Profile.Name == f.Profile })
		if i < 0 {
			s.Profiles = append(s.Profiles, ProfileStatus{Profile: &protocol.Profile{Name: f.Profile}, State: StateNotInstalled, Enabled: true, Broken: f.Err})
			continue
		}
		p := &s.Profiles[i]
		p.State, p.Enabled, p.Broken = StateChanged, true, f.Err
		if f.Unread() {
			p.State = StateInstalled
		}
	}
	slices.SortFunc(s.Profiles, func(x, y ProfileStatus) int { return protocol.ByName(x.Profile, y.Profile) })
}

// AddChanged makes installed profiles changed where the rules of all follow an older knockd.toml, as
// the reasons of [NotInForce] say.
func (s *Status) AddChanged(reasons []Reason) {
	for i := range s.Profiles {
		p := &s.Profiles[i]
		if p.State == StateInstalled && slices.ContainsFunc(reasons, func(r Reason) bool { return r.Kind == ReasonChanged && p.About(r) }) {
			p.State = StateChanged
		}
	}
}

// stateOf compares a profile, as installed if it is, with its file, which may be nil.
func stateOf(p, file *protocol.Profile, installed []*protocol.Profile) ProfileState {
	_, live := slices.BinarySearchFunc(installed, p.Name, func(p *protocol.Profile, name string) int { return cmp.Compare(p.Name, name) })
	switch {
	case !live && !file.Enabled:
		return StateDisabled
	case !live:
		return StateNotInstalled
	case file == nil:
		return StateNoFile
	case !file.Enabled || format.Canonical(p) != format.Canonical(file):
		return StateChanged
	}
	return StateInstalled
}

// Has reports whether the status knows a profile of that name.
func (s Status) Has(name string) bool {
	return slices.ContainsFunc(s.Profiles, func(p ProfileStatus) bool { return p.Profile.Name == name })
}
