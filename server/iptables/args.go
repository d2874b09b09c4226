package iptables

import "knockkit/server/iptables/save"

// Args cuts a rule, as iptables-save prints it, into its arguments.
func Args(rule string) ([]string, error) { return save.Args(rule) }
