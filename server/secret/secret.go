package secret

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"knockkit/internal/files"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// maxFileSize is how many bytes of a file are read: far more than it needs.
const maxFileSize = 4 << 10

// Create writes a new secret. The error is [io/fs.ErrExist] where there is such a file, which stays as it is,
// and a [*files.ExposedError] where others can write its folder.
func Create(file string) error {
	var secret [protocol.KeySize]byte
	_, _ = rand.Read(secret[:]) // it never fails
	if _, err := files.Check(filepath.Dir(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return files.Write(file, []byte(format.KeyText(secret)+"\n"), false)
}

// Read reads one secret. The error is a [*files.ExposedError] where others than its owner can read the file, or
// others than root and the caller can write it; it does not repeat what is in the file.
func Read(file string) (secret [protocol.KeySize]byte, err error) {
	if err := files.CheckSecret(file); err != nil {
		return secret, fmt.Errorf("the fleet's secret: %w", err)
	}
	text, err := files.Read(file, maxFileSize)
	if err != nil {
		return secret, fmt.Errorf("the fleet's secret: %w", err)
	}
	line, _ := strings.CutSuffix(string(text), "\n")
	if secret, err = format.ParseKey(strings.TrimSuffix(line, "\r")); err != nil {
		return secret, fmt.Errorf("%s is no fleet's secret: it has one line, %d bytes in base64url, as \"knockd fleet init\" writes it", file, protocol.KeySize)
	}
	return secret, nil
}

// ReadAll reads the secrets of a list, in its order. Two files with one secret are an error: the change from one
// to the other would be none.
func ReadAll(list []string) (all [][protocol.KeySize]byte, err error) {
	for _, file := range list {
		secret, err := Read(file)
		if err != nil {
			return nil, err
		}
		if i := slices.Index(all, secret); i >= 0 {
			return nil, fmt.Errorf("%s and %s have the same secret: copy the new one once more", list[i], file)
		}
		all = append(all, secret)
	}
	return all, nil
}
