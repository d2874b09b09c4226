package files

import "fmt"

// ExposedError says that others than root and the caller can write a file, because of
// its own owner and mode or those of a folder on the way to it.
type ExposedError struct {
	Path string // the file, or the folder
	Why  string
	Todo string // what mends it, as a command

	// Chown is the command that gives a folder of somebody else's another owner; "" for all else. It is
	// no advice for any folder: that of somebody's home would lock him out.
	Chown string
}

func (e *ExposedError) Error() string { return fmt.Sprintf("%s %s", e.Path, e.Why) }
