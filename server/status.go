package server

import (
	"context"
	"slices"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// ProfileState says how a profile's file and the kernel stand to each other.
type ProfileState string

// The states of a profile.
const (
	StateInstalled    ProfileState = "installed"
	StateChanged      ProfileState = "changed"       // installed, and its file was edited since
	StateNotInstalled ProfileState = "not installed" // a file only
	StateDisabled     ProfileState = "disabled"      // a file with enabled = false
	StateNoFile       ProfileState = "no file"       // installed, and its file is gone
)

// ProfileStatus is one profile of a [Status].
type ProfileStatus struct {
	Profile *protocol.Profile // as installed, else as in the file; of a file that cannot be used its name only
	State   ProfileState
	Enabled bool // there is a file, and it does not say enabled = false
	Broken  bool // the file cannot be used
}

// Live reports whether the kernel runs the profile.
func (p ProfileStatus) Live() bool {
	return p.State == StateInstalled || p.State == StateChanged || p.State == StateNoFile
}

// Status is everything that there is to know about a host.
type Status struct {
	Backend  string
	Policy   protocol.Policy // as installed
	Profiles []ProfileStatus // by name
	Sources  []backend.Source
	Drift    []string
	Foreign  []string
	Fill     []backend.Fill
	Advice   []Advice // about how full the tables are, and how much they hold
}

// Filler is a backend that can say how full the kernel's tables are.
type Filler interface {
	Fill(ctx context.Context) ([]backend.Fill, error)
}

// Status reads the host. files are the profiles of the configuration folder;
// names limit the answer to some profiles, none means all.
func (s *Server) Status(ctx context.Context, files []*protocol.Profile, names []string) (Status, error) {
	is, err := s.backend.Installed(ctx)
	if err != nil {
		return Status{}, err
	}
	sources, err := s.backend.Sources(ctx)
	if err != nil {
		return Status{}, err
	}
	asked := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	st := Status{Backend: s.backend.Name(), Policy: is.Policy, Drift: is.Drift, Foreign: is.Foreign}
	for _, p := range merge(is.Profiles, without(files, is.Profiles)) {
		if asked(p.Name) {
			enabled := slices.ContainsFunc(files, func(f *protocol.Profile) bool { return f.Name == p.Name && f.Enabled })
			st.Profiles = append(st.Profiles, ProfileStatus{Profile: p, State: stateOf(p.Name, is.Profiles, files), Enabled: enabled})
		}
	}
	for _, src := range backend.Longest(sources) {
		if src.Profile == "" || asked(src.Profile) {
			st.Sources = append(st.Sources, src)
		}
	}
	if filler, ok := s.backend.(Filler); ok {
		if st.Fill, err = filler.Fill(ctx); err != nil {
			return st, err
		}
	}
	if len(is.Profiles) > 0 {
		st.Advice, err = s.tableAdvice(ctx, st.Fill)
	}
	return st, err
}

// AddBroken adds profiles whose files cannot be used. One that is installed is changed:
// its file is not what it was.
func (s *Status) AddBroken(names []string) {
	for _, name := range names {
		i := slices.IndexFunc(s.Profiles, func(p ProfileStatus) bool { return p.Profile.Name == name })
		if i < 0 {
			s.Profiles = append(s.Profiles, ProfileStatus{Profile: &protocol.Profile{Name: name}, State: StateNotInstalled, Enabled: true, Broken: true})
			continue
		}
		s.Profiles[i].State, s.Profiles[i].Enabled, s.Profiles[i].Broken = StateChanged, true, true
	}
	slices.SortFunc(s.Profiles, func(x, y ProfileStatus) int { return protocol.ByName(x.Profile, y.Profile) })
}

// without returns the profiles that have no namesake among others.
func without(profiles, others []*protocol.Profile) []*protocol.Profile {
	return slices.DeleteFunc(slices.Clone(profiles), func(p *protocol.Profile) bool {
		return slices.ContainsFunc(others, named(p.Name))
	})
}

func stateOf(name string, installed, files []*protocol.Profile) ProfileState {
	i, f := slices.IndexFunc(installed, named(name)), slices.IndexFunc(files, named(name))
	switch {
	case i < 0 && !files[f].Enabled:
		return StateDisabled
	case i < 0:
		return StateNotInstalled
	case f < 0:
		return StateNoFile
	case !files[f].Enabled || installed[i].Canonical() != files[f].Canonical():
		return StateChanged
	}
	return StateInstalled
}

// Installed returns the profiles that the kernel runs, by name.
func (s *Server) Installed(ctx context.Context) ([]*protocol.Profile, error) {
	is, err := s.backend.Installed(ctx)
	slices.SortFunc(is.Profiles, protocol.ByName)
	return is.Profiles, err
}

// Has reports whether the status knows a profile of that name.
func (s Status) Has(name string) bool {
	return slices.ContainsFunc(s.Profiles, func(p ProfileStatus) bool { return p.Profile.Name == name })
}
