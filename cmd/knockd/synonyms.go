package main

import "knockkit/internal/command"

// synonyms are what people type for commands, from other programs and from habit. A word that
// becomes a command is one: its line here does nothing then.
func synonyms() []command.Synonym {
	const unit = "where systemd runs it: systemctl "
	return []command.Synonym{
		{Typed: "version -V -v", Right: "--version"},
		{Typed: "uninstall deinstall unload deactivate down", Right: "remove"},
		{Typed: "delete del rm erase", Right: "remove, profile remove", Say: "the first takes the rules out of the kernel, the second the file away"},
		{Typed: "flush purge", Right: "remove --all"},
		{Typed: "apply load activate up deploy", Right: "install"},
		{Typed: "reload refresh sync", Say: "a running service installs the files when one changes, and on SIGHUP; without one: knockd install"},
		{Typed: "start daemon serve server service", Right: "run", Say: unit + "start knockd; the rules alone need no process: knockd install"},
		{Typed: "stop", Say: unit + "stop knockd; the rules stay until: knockd remove --all"},
		{Typed: "restart", Say: unit + "restart knockd; the rules stay meanwhile"},
		{Typed: "list ls profiles", Right: "profile list"},
		{Typed: "show cat view", Right: "profile show"},
		{Typed: "add", Right: "profile add", Say: "that takes a file; to write a new one: knockd profile new NAME"},
		{Typed: "new create make init generate", Right: "profile new"},
		{Typed: "edit change modify", Right: "profile edit"},
		{Typed: "enable", Right: "profile edit", Say: "enabled = true in the file, or no such line"},
		{Typed: "disable", Right: "profile edit", Say: "enabled = false in the file"},
		{Typed: "check test validate verify lint", Right: "profile check", Say: "whether the gates are in force says: knockd status --check"},
		{Typed: "state stat info who leases", Right: "status"},
		{Typed: "monitor log logs tail events", Right: "watch"},
		{Typed: "diagnose diag debug", Right: "doctor"},
		{Typed: "simulate walk trace", Right: "explain"},
		{Typed: "draw diagram dot mermaid", Right: "graph"},
		{Typed: "rules print dump", Right: "render"},
		{Typed: "export", Right: "render", Say: "a profile's file is printed by: knockd profile show NAME"},
		{Typed: "migrate convert", Right: "import"},
		{Typed: "allow permit open trust", Right: "grant"},
		{Typed: "deny close kick logout ungrant", Right: "revoke"},
		{Typed: "ban block", Say: "sources are banned by `ban` of knockd.toml; a lease is ended by: knockd revoke NAME ADDR"},
		{Typed: "unblock pardon", Right: "unban"},

		{Group: "profile", Typed: "rm del delete erase", Right: "profile remove"},
		{Group: "profile", Typed: "ls all", Right: "profile list"},
		{Group: "profile", Typed: "create make init generate", Right: "profile new"},
		{Group: "profile", Typed: "cat view print get info", Right: "profile show"},
		{Group: "profile", Typed: "copy", Right: "profile add"},
		{Group: "profile", Typed: "import", Right: "import, profile add", Say: "the first takes another daemon's configuration, the second a profile"},
		{Group: "profile", Typed: "change modify open set", Right: "profile edit"},
		{Group: "profile", Typed: "test validate verify lint", Right: "profile check"},
		{Group: "profile", Typed: "enable", Right: "profile edit", Say: "enabled = true in the file, or no such line"},
		{Group: "profile", Typed: "disable", Right: "profile edit", Say: "enabled = false in the file"},
		{Group: "profile", Typed: "install load apply activate", Right: "install"},
		{Group: "profile", Typed: "uninstall unload deactivate", Right: "remove"},
		{Group: "profile", Typed: "status state", Right: "status"},
		{Group: "profile", Typed: "grant", Right: "grant"},
		{Group: "profile", Typed: "revoke", Right: "revoke"},
		{Group: "profile", Typed: "render export", Right: "render"},
		{Group: "profile", Typed: "graph explain", Right: "explain, graph"},

		{Group: "fleet", Typed: "new create make generate setup add join", Right: "fleet init"},
		{Group: "fleet", Typed: "rotate renew rekey", Right: "fleet init --new-secret"},
	}
}
