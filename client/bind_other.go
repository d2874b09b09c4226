//go:build !linux && !darwin

package client

import "errors"

// prepare refuses an interface: not every kind of knock can be bound to one here.
func (n network) prepare(uintptr, bool) error {
	if n.device == nil {
		return nil
	}
	return errors.ErrUnsupported
}
