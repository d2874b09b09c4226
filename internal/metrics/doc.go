// Package metrics is the service's page for Prometheus: what the events add up to,
// and at each visit a look at the kernel. The names are constants, which the
// dashboard and the alerts are held against.
package metrics
