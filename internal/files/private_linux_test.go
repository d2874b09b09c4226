package files

import "testing"

// TestAGroupOfOneUserIsHis: Debian's and Fedora's first users have umask 002 with a
// group of their own.
func TestAGroupOfOneUserIsHis(t *testing.T) {
	if !private(1, 1) { // daemon, on every Linux
		t.Error("the group daemon is of the user daemon alone")
	}
	for _, g := range [][2]int{{0, 0}, {1, 2}, {54321, 54321}} {
		if private(g[0], g[1]) {
			t.Errorf("group %d is not of user %d alone", g[1], g[0])
		}
	}
}
