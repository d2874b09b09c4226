//go:build !linux && !darwin

package client

import (
	"errors"
	"runtime"
)

// prepare refuses an interface: not every kind of knock can be bound to one here.
func (n network) prepare(uintptr, bool) error {
	if n.device == nil {
		return nil
	}
	return errors.New("binding to an interface is not supported on " + runtime.GOOS + ": give its address as the source")
}
