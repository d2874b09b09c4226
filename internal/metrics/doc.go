// Package metrics is the service's page for Prometheus: sums of the notices, and at each visit a
// reading of the kernel. The names are constants, which tests compare with the dashboard and the
// alerts.
package metrics
