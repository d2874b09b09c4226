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
	// Source is an address, or a prefix, with a position, a lease or a ban.
	Source = backend.Source

	// SourceState says which of them a [Source] has.
	SourceState = backend.SourceState

	// Reading is a moment of the kernel: what is installed (Profiles, Policy), rules that are not
	// those committed (Drift), and positions, leases and bans (Sources).
	Reading = backend.Reading

	// Fill says how many addresses a table of the kernel has, and has room for.
	Fill = backend.Fill

	// Module is xt_recent in the kernel: how many addresses a table has room for.
	Module = iptables.Module

	// Saved is what iptables-save of one flavour ("iptables-nft", "iptables-legacy") prints about one family.
	Saved = backend.Saved

	// Text is what is committed: the text, and the tool that reads it.
	Text = backend.Text

	// ToolError says that a tool of the host refused a text, and which line of it.
	ToolError = backend.ToolError

	// Owner is the process that has a lock, as far as this one may see it.
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
