// Package packaging holds the tests of what is shipped beside the programs, and of
// what ships them: the systemd unit, the Grafana dashboard, Prometheus' alert rules,
// `make install`, and the packages, which are installed, used and removed in a Debian
// of their own. It has no code of its own.
package packaging
