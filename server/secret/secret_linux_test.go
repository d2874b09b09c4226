package secret_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"knockkit/internal/files"
	"knockkit/internal/lab/labtest"
	"knockkit/server/secret"
)

func TestASecretThatWasMadeIsReadBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fleet", "fleet.key")
	if err := secret.Create(file); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v (%v)", info.Mode(), err)
	}
	made, err := secret.Read(file)
	if err != nil || made == [32]byte{} {
		t.Fatalf("%v: %v", made, err)
	}
	if err := secret.Create(file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second secret in its place: %v", err)
	}
	if again, err := secret.Read(file); err != nil || again != made {
		t.Errorf("then it is another: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other.key")
	if err := secret.Create(other); err != nil {
		t.Fatal(err)
	}
	both, err := secret.ReadAll([]string{other, file})
	if err != nil || len(both) != 2 || both[1] != made || both[0] == made {
		t.Errorf("both, the other first: %v, %v", both, err)
	}
}

const good = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA"

func TestAFileThatIsNoSecretIsRefusedWithoutItsText(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "a byte short": good[:42], "two lines": good + "\n" + good + "\n", "a comment": "# secret\n" + good + "\n",
		"padding": good + "=", "base64": strings.Replace(good, "B", "+", 1), "loose bits": good[:42] + "B", "a space": good + " \n", "long": strings.Repeat("B", 8192),
	} {
		file := filepath.Join(t.TempDir(), "fleet.key")
		write(t, file, text)
		_, err := secret.Read(file)
		if err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "BBBB") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, end := range []string{"", "\n", "\r\n"} {
		file := filepath.Join(t.TempDir(), "fleet.key")
		write(t, file, good+end)
		if _, err := secret.Read(file); err != nil {
			t.Errorf("with %q behind it: %v", end, err)
		}
	}
}

func TestTwoFilesWithOneSecretAreRefused(t *testing.T) {
	dir := t.TempDir()
	list := []string{filepath.Join(dir, "new.key"), filepath.Join(dir, "old.key")}
	for _, file := range list {
		write(t, file, good+"\n")
	}
	if _, err := secret.ReadAll(list); err == nil || !strings.Contains(err.Error(), "same secret") {
		t.Error(err)
	}
	if _, err := secret.ReadAll(slices.Insert(list, 1, filepath.Join(dir, "none.key"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestASecretThatOthersCanReadOrChangeIsRefused(t *testing.T) {
	labtest.NeedRoot(t)
	for name, expose := range map[string]func(file string) error{
		"its group reads it":      func(file string) error { return os.Chmod(file, 0o640) },
		"everybody reads it":      func(file string) error { return os.Chmod(file, 0o604) },
		"everybody writes it":     func(file string) error { return os.Chmod(file, 0o602) },
		"it is somebody else's":   func(file string) error { return os.Chown(file, 1234, 0) },
		"its folder is open":      func(file string) error { return os.Chmod(filepath.Dir(file), 0o777) },
		"its folder is another's": func(file string) error { return os.Chown(filepath.Dir(file), 1234, 0) },
	} {
		file := filepath.Join(t.TempDir(), "fleet.key")
		write(t, file, good+"\n")
		if _, err := secret.Read(file); err != nil {
			t.Fatal(err)
		}
		if err := expose(file); err != nil {
			t.Fatal(err)
		}
		_, err := secret.Read(file)
		if exposed := new(files.ExposedError); !errors.As(err, &exposed) || exposed.Todo == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoSecretIsMadeWhereOthersCanPutAnother(t *testing.T) {
	labtest.NeedRoot(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	err := secret.Create(filepath.Join(dir, "fleet.key"))
	if !errors.As(err, new(*files.ExposedError)) {
		t.Error(err)
	}
	if inside, _ := os.ReadDir(dir); len(inside) > 0 {
		t.Errorf("there is %v", inside)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
