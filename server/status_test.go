package server_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
	"knockkit/server"
)

// TestAFileThatMayNotBeReadIsNoBrokenOne: neither that it has errors is known, nor that it was changed.
func TestAFileThatMayNotBeReadIsNoBrokenOne(t *testing.T) {
	closed := &fs.PathError{Op: "open", Path: "mysql.toml", Err: fs.ErrPermission}
	live := server.ProfileStatus{Profile: &protocol.Profile{Name: "mysql"}, State: server.StateNoFile}
	for _, c := range []struct {
		name     string
		profiles []server.ProfileStatus
		err      error
		state    server.ProfileState
		kind     server.ReasonKind
		says     string
	}{
		{"closed", nil, closed, server.StateNotInstalled, server.ReasonUnread, "the file of profile mysql may not be read: run it as root"},
		{"closed, and installed", []server.ProfileStatus{live}, closed, server.StateInstalled, server.ReasonUnread, "the file of profile mysql may not be read: run it as root"},
		{"broken, and installed", []server.ProfileStatus{live}, errors.New("wrong"), server.StateChanged, server.ReasonChanged, "the file of profile mysql has errors since it was installed: knockd profile check mysql"},
	} {
		st := server.Status{Backend: "nftables", Policy: strict().Policy, Profiles: c.profiles}
		st.AddBroken([]server.BrokenFile{{Profile: "mysql", Err: c.err}})
		var all []string
		for _, r := range server.NotInForce(st, strict(), server.Network{}, nil) {
			all = append(all, string(r.Kind)+": "+r.String())
		}
		if st.Profiles[0].State != c.state || !cmp.Equal(all, []string{string(c.kind) + ": " + c.says}) {
			t.Errorf("%s: %s, %q", c.name, st.Profiles[0].State, all)
		}
	}
}
