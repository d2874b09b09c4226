// Package packaging holds the tests of what is shipped beside the programs: the
// systemd unit, the Grafana dashboard, and Prometheus' alert rules. It has no code of
// its own.
package packaging
