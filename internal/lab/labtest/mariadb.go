//go:build linux

package labtest

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab"
)

// Database is a MariaDB server on a host, on port 3306 of every address.
type Database struct {
	User, Password string // may do everything, from everywhere
	Name           string // an empty database
	Socket         string // on this machine, for root without a password
}

// MariaDB starts Debian's MariaDB server on a host, with data of its own, and
// waits until it answers. It ends with the test.
func MariaDB(t testing.TB, h *lab.Host) Database {
	t.Helper()
	Need(t, "mariadbd", "mariadb-install-db", "mariadb")
	dir := t.TempDir()
	db := Database{User: "shop", Password: "a-test's-password", Name: "shop", Socket: filepath.Join(dir, "socket")}
	data := filepath.Join(dir, "data")
	// --no-defaults: the machine's own configuration is not ours to use.
	MustRun(t, h, "", "mariadb-install-db", "--no-defaults", "--user=root", "--datadir="+data,
		"--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=4M")
	server, err := lab.FindTool("mariadbd")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(server, "--no-defaults", "--user=root", "--datadir="+data, "--socket="+db.Socket,
		"--pid-file="+filepath.Join(dir, "pid"), "--log-error="+filepath.Join(dir, "log"), "--bind-address=*", "--port=3306",
		"--skip-name-resolve", "--max-connections=500", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M",
		"--max-allowed-packet=64M", "--innodb-flush-log-at-trx-commit=0")
	wait := Start(t, h, cmd)
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	Eventually(t, 30*time.Second, func() error {
		select {
		case err := <-ended:
			t.Fatalf("mariadbd ended: %v: see %s", err, MustRun(t, h, "", "cat", filepath.Join(dir, "log")))
		default:
		}
		if out := Run(t, h, "SELECT 1", "mariadb", "--no-defaults", "--socket="+db.Socket); out.Code != 0 {
			return errors.New(out.Stderr)
		}
		return nil
	})
	quoted := "'" + strings.ReplaceAll(db.Password, "'", "''") + "'"
	MustRun(t, h, fmt.Sprintf("CREATE DATABASE %s; CREATE USER %s@'%%' IDENTIFIED BY %s; GRANT ALL ON *.* TO %s@'%%';",
		db.Name, db.User, quoted, db.User), "mariadb", "--no-defaults", "--socket="+db.Socket)
	return db
}
