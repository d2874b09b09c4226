// Package stat sums up repeated measurements.
package stat
