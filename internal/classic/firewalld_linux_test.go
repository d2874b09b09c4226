package classic_test

import (
	"encoding/xml"
	"fmt"
	"os"
	"strings"
	"testing"

	"knockkit/internal/classic"
	"knockkit/internal/lab/labtest"
)

// Where firewalld is, its files say which ports its services have, and whether they need more
// than ports.
func TestFirewalldsServicesHaveThePortsOfItsFiles(t *testing.T) {
	labtest.Need(t, "firewalld")
	const folder = "/usr/lib/firewalld/services"
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	imported := 0
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".xml")
		text := fmt.Sprintf("[a]\nsequence = 5001,3001,4001\ncommand = firewall-cmd --add-rich-rule='rule family=ipv4 source address=%%IP%% service name=%s accept'\n", name)
		im, err := classic.Read("knockd.conf", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(im.Profiles) == 0 {
			continue
		}
		imported++
		data, err := os.ReadFile(folder + "/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		var service struct {
			Ports []struct {
				Port     string `xml:"port,attr"`
				Protocol string `xml:"protocol,attr"`
			} `xml:"port"`
			More []struct {
				XMLName xml.Name
			} `xml:",any"`
		}
		if err := xml.Unmarshal(data, &service); err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for _, p := range service.Ports {
			want = append(want, p.Port+"/"+p.Protocol)
		}
		for _, m := range service.More {
			if n := m.XMLName.Local; n != "short" && n != "description" {
				want = append(want, n)
			}
		}
		for _, p := range im.Profiles[0].Parsed.Open {
			got = append(got, p.String())
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s opens %s, and firewalld says %s", name, got, want)
		}
	}
	if imported < 20 {
		t.Errorf("%d services are known, want at least 20", imported)
	}
}
