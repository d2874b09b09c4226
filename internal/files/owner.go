package files

import "fmt"

// ExposedError says that others than root and the caller can write a file, because of
// its own owner and mode or those of a folder on the way to it.
type ExposedError struct {
	Path string // the file, or the folder
	Why  string
	Todo string // a command that mends it
}

func (e *ExposedError) Error() string { return fmt.Sprintf("%s %s", e.Path, e.Why) }
