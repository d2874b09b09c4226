package server

import (
	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/claim"
	"knockkit/internal/kernel/iptables"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// What the functions of this package take and return. These types are declared where the
// backends use them too.
type (
	// Source is an address, or a prefix (Address), with a position, a lease or a ban (State): Profile,
	// "" for a ban; Step of Steps knocks made; Left is the time left, unless it is Unlimited; the Users
	// who have knocked for a lease of a signed profile.
	Source = backend.Source

	// User is somebody who has knocked for a lease of a signed profile: the Name, the ID of the Key, and
	// the time Left of this one's part, unless it is Unlimited.
	User = backend.User

	// SourceState says which of them a [Source] has.
	SourceState = backend.SourceState

	// Reading is a moment of the kernel: what is installed (Profiles, Policy), rules that are not
	// those committed (Drift), and positions, leases and bans (Sources).
	Reading = backend.Reading

	// Fill says how many addresses (Entries) a Table of the kernel has, and has room for (Limit).
	Fill = backend.Fill

	// Module is xt_recent in the kernel: how many addresses a table has room for (Limit, 0 where it is
	// not loaded), and will have when it is loaded again (Next); BuiltIn where it cannot be.
	Module = iptables.Module

	// Saved is what iptables-save of one flavour (Tool: "iptables-nft", "iptables-legacy") prints about
	// one Family.
	Saved = backend.Saved

	// Text is what is committed: the Text, "" for nothing, the Tool that reads it, as a command line,
	// and the Family, Both where it has both.
	Text = backend.Text

	// ToolError says that a Tool of the host refused a text, its Output, and the Line, "" where the tool
	// names none.
	ToolError = backend.ToolError

	// Owner is the process that has a lock, as far as this one may see it: PID, Command, and the time
	// Left at most; the zero value of each is "not known".
	Owner = claim.Owner
)

// ReadProfile reads a profile's file; the file's name is the profile's. The error is the file
// system's, or lists all mistakes of the file, each with its line.
func ReadProfile(file string) (*protocol.Profile, error) { return format.ReadProfile(file) }

// The states of a source.
const (
	Knocking = backend.Knocking // in a position
	Open     = backend.Open     // has a lease
	Banned   = backend.Banned
)

// What a caller branches on, with errors.Is.
var (
	// ErrPrivilege says that the caller may not change or read the packet filter.
	ErrPrivilege = backend.ErrPrivilege

	// ErrNotInstalled says that a profile is not in the kernel.
	ErrNotInstalled = backend.ErrNotInstalled

	// ErrUnsupported says that the kernel, or a tool of the host, lacks what the backend needs.
	ErrUnsupported = backend.ErrUnsupported
)
