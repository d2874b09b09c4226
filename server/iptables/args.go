package iptables

// Args cuts a rule, as iptables-save prints it, into its arguments.
func Args(rule string) ([]string, error) { return split(rule) }
