package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// FindTool returns the path of a program. It looks in the folders of system tools
// too, which are not on everybody's PATH.
func FindTool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range systemFolders() {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is missing: install the package %s: %w", name, packageOf(name), err)
}

func systemFolders() []string { return []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} }

// withSystemFolders returns a PATH that ends with the folders of system tools.
func withSystemFolders(path string) string {
	have := filepath.SplitList(path)
	for _, dir := range systemFolders() {
		if !slices.Contains(have, dir) {
			have = append(have, dir)
		}
	}
	return strings.Join(have, string(os.PathListSeparator))
}

// packageOf names the Debian package that has a program.
func packageOf(name string) string {
	switch name {
	case "nft":
		return "nftables"
	case "mariadbd", "mysqld", "mariadb-install-db", "mysql_install_db":
		return "mariadb-server"
	case "mariadb", "mysql", "mysqldump", "mariadb-dump":
		return "mariadb-client"
	case "knock":
		return "knockd"
	case "sshd":
		return "openssh-server"
	case "ssh", "ssh-keygen":
		return "openssh-client"
	case "fail2ban-server":
		return "fail2ban"
	case "unshare":
		return "util-linux"
	case "ip":
		return "iproute2"
	}
	for _, prefix := range []string{"iptables", "ip6tables", "xtables"} {
		if strings.HasPrefix(name, prefix) {
			return "iptables"
		}
	}
	return name
}

// Flags are the flags of a TCP segment.
type Flags uint8

// The flags, with the values that they have on the wire.
const (
	FlagFIN Flags = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// Has reports whether all the given flags are set.
func (f Flags) Has(g Flags) bool { return f&g == g }

// String returns the names of the flags that are set: "syn", "syn+ack", "" for none.
func (f Flags) String() string {
	var names []string
	for i, name := range []string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"} {
		if f.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}
