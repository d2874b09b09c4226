package doctor

import (
	"slices"
	"time"

	"knockkit/internal/kernel/conns"
	"knockkit/internal/kernel/iptables"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/keys"
)

// Input is the configuration, which the caller has read.
type Input struct {
	Folder   string // the configuration folder, with the keys of signed profiles
	Settings server.Settings
	Files    []*protocol.Profile // of the configuration folder, those that can be read
	Broken   []server.BrokenFile // the other files
}

// facts is the host, as far as it could be read.
type facts struct {
	Input
	Status server.Status // Backend is "" when no backend could be opened
	Trials []trial       // each backend in an empty network namespace

	Host     host // the chains of others
	Flavours []string
	Us       site
	active   string // the tool that `iptables` is here
	blind    bool   // rules of some tool could not be read

	Recent      iptables.Module
	Conntrack   bool
	Listeners   []conns.Listener
	Network     server.Network
	network     [protocol.IPv6 + 1]network // of each family
	strict, off []string                   // interfaces whose reverse path filter is strict, or off
	interfaces  int                        // all interfaces that have the filter
	Clock       clockState

	Service    bool         // the service runs
	Keys       []keys.Entry // of all signed profiles
	BrokenKeys []error      // why the others cannot be used
	audience   string       // the name that the server goes by; "": not known
	now        time.Time

	Unread []unread
}

// trial is the result of trying a backend.
type trial struct {
	Backend string
	Err     error // nil: profiles can be installed
}

// clockState is what the kernel says about its clock.
type clockState struct {
	Known, Synchronised bool
}

// unread is something that could not be read, and why.
type unread struct {
	What string
	Err  error
}

func (f *facts) saw(what string) bool {
	return !slices.ContainsFunc(f.Unread, func(u unread) bool { return u.What == what })
}

// profiles returns the profiles that the kernel runs, or where there are none, those that an install
// would add.
func (f *facts) profiles() []*protocol.Profile {
	var live, files []*protocol.Profile
	for _, p := range f.Status.Profiles {
		switch {
		case p.Live():
			live = append(live, p.Profile)
		case p.Enabled && p.Broken == nil:
			files = append(files, p.Profile)
		}
	}
	if len(live) > 0 {
		return live
	}
	return files
}

// anyInstalled reports whether the kernel runs any profile.
func (f *facts) anyInstalled() bool {
	return slices.ContainsFunc(f.Status.Profiles, server.ProfileStatus.Live)
}
