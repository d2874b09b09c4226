package classic_test

import (
	"fmt"
	"strings"
	"testing"

	"knockkit/internal/classic"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// taken are commands that open port 22 or others to who knocked; refused are those that look
// like them, and that the tools do not take.
var (
	taken = []string{
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP%/32 -d 198.51.100.1 -i eth0 -p TCP --destination-port ssh --syn -j ACCEPT",
		"iptables -v -w 5 -w --append INPUT --source %IP% --protocol 6 --dport=22 --jump ACCEPT",
		"iptables -t filter -t filter -A INPUT -s %IP% -p tcp --dport 20:30 -j ACCEPT",
		"iptables -A INPUT -s %IP% -m tcp --dport 22 -p tcp -j ACCEPT",
		"iptables -A INPUT -s %IP% -m tcp --syn -p tcp --dport 22 -j ACCEPT",
		"iptables -A INPUT -s %IP% -p tcp -m tcp -m tcp --dport 22 -j ACCEPT -m tcp",
		"iptables -A INPUT -s %IP% -p tcp --syn -m tcp --syn --dport 22 -j ACCEPT",
		"iptables -A INPUT -s %IP% -p udp -m udp --dport 22 -j ACCEPT",
		"iptables -A INPUT -s %IP% -p tcp -m multiport --dport 22,80 -j ACCEPT",
		"iptables -A INPUT -s %IP% -m multiport -p tcp --destination-ports 22,6000:6010 -j ACCEPT",
		"iptables -A INPUT -s %IP% -p tcp -m multiport -m tcp --dports 22 -j ACCEPT",
		"iptables -A INPUT -s %IP% -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,22:80 -j ACCEPT",
		"iptables -A INPUT -s %IP% -p tcp --dport 22 -m state --state new -m state --state NEW,RELATED -j ACCEPT",
		"iptables -A INPUT -s %IP% -p tcp --dport 22 -m conntrack --ctstate NEW,DNAT -m comment --comment a -j ACCEPT",
		"ip6tables -A INPUT -s %IP%/128 -d 2001:db8::1 -p tcp --dport 22 -j ACCEPT",

		"nft add rule filter input ip saddr %IP%/32 tcp dport 22 accept",
		"nft insert rule inet filter input ip saddr %IP% ip daddr 198.51.100.1 tcp dport { 22, 6000-6010, } counter accept comment mine",
		"nft add rule inet filter input iifname eth0 ip6 saddr %IP% ct state new,established tcp dport ssh accept",
		"nft add rule inet filter input iifname eth0 iifname eth0 ip saddr %IP% ip daddr 192.0.2.1 ip daddr 192.0.2.1 ct state new ct state new tcp dport 22 accept",
		"nft add rule ip6 filter input ip6 saddr %IP%/128 udp dport 22-25 ct state { new } accept",
	}
	refused = []string{
		"iptables -I INPUT -s %IP% -p tcp -p udp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --protocol tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -i eth0 -i eth1 -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -i + --in-interface + -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -i '' -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% --src %IP% -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -d 198.51.100.1 -d 198.51.100.1 -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -d 2001:db8::1 -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP%/128 -p tcp --dport 22 -j ACCEPT",
		"iptables -I FORWARD -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
		"iptables -A INPUT -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
		"iptables -C INPUT -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT 0 -s %IP% -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -j DROP -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT --jump ACCEPT",
		"iptables -n -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p udp --dport 22 --syn -j ACCEPT",
		"iptables -I INPUT -s %IP% --syn -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --syn --dport 22 --syn -j ACCEPT",
		"iptables -I INPUT -s %IP% --dport 22 -p tcp -j ACCEPT",
		"iptables -I INPUT -s %IP% -m tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -m udp -p tcp --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -m udp -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22,80 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 30:22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport SSH -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dports 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dports 22 -m multiport -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp -m tcp -m multiport --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp -m multiport -m multiport --dports 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp -m multiport --syn --dport 22 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp -m multiport --dports 22: -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp -m multiport --dports 22,:80 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp -m multiport --dports 22, -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,22:80 -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 --state NEW -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -m state -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -m state -m state --state NEW -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -m state --state NEW --state NEW -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -m state --state NEW,DNAT -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -m state --ctstate NEW -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -m conntrack -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 --comment mine -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -m comment -j ACCEPT",
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -m comment --comment a --comment b -j ACCEPT",

		"nft add rule ip6 filter input ip saddr %IP% tcp dport 22 accept",
		"nft add rule filter input ip6 saddr %IP% tcp dport 22 accept",
		"nft add rule inet filter input ip saddr %IP% ip6 saddr %IP% tcp dport 22 accept",
		"nft add rule inet filter input ip saddr %IP% ip6 daddr 2001:db8::1 tcp dport 22 accept",
		"nft add rule inet filter input ip saddr %IP% ip daddr 2001:db8::1 tcp dport 22 accept",
		"nft add rule inet filter input ip saddr %IP%/128 tcp dport 22 accept",
		"nft add rule inet filter input ip saddr %IP% tcp dport 22 accept accept",
		"nft add rule inet filter input ip saddr %IP% accept tcp dport 22",
		"nft add rule inet filter input ip saddr %IP% tcp dport 22 accept counter",
		"nft add rule inet filter input ip saddr %IP% tcp dport 22 comment mine accept",
		"nft add rule inet filter input ip saddr %IP% tcp dport 22 accept comment a comment b",
		"nft add rule inet filter input ip saddr %IP% tcp dport 22,80 accept",
		"nft add rule inet filter input ip saddr %IP% tcp dport { 22 80 } accept",
		"nft add rule inet filter input ip saddr %IP% tcp dport 22:80 accept",
		"nft add rule inet filter input ip saddr %IP% tcp dport 22 udp dport 22 accept",
	}
)

// A command that its tool refuses has never opened anything: a profile of it would be the first to.
func TestWhatIsImportedIsWhatTheToolsTake(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "nft", "sh")
	tables := "set -e; for f in ip ip6 inet; do nft add table $f filter; nft add chain $f filter input; done"
	for _, flavour := range lab.Flavours() {
		path := labtest.PathOf(t, flavour)
		h := labtest.NewHost(t, flavour.Name)
		labtest.MustRun(t, h, "", "sh", "-c", tables)
		for takes, commands := range map[bool][]string{true: taken, false: refused} {
			for _, command := range commands {
				address := "198.51.100.7"
				if strings.Contains(command, "ip6tables") || strings.Contains(command, "ip6 saddr") {
					address = "2001:db8::7"
				}
				typed := strings.ReplaceAll(command, "%IP%", address)
				if strings.HasPrefix(command, "nft ") { // it splits words itself
					typed = "nft '" + strings.TrimPrefix(typed, "nft ") + "'"
				}
				out := labtest.Run(t, h, "", "sh", "-c", fmt.Sprintf("PATH=%s:$PATH; %s", path, typed))
				if (out.Code == 0) != takes {
					t.Errorf("%s: %s ends with %d\n%s", flavour.Name, typed, out.Code, out.Stderr)
				}
			}
		}
	}
	for takes, commands := range map[bool][]string{true: taken, false: refused} {
		for _, command := range commands {
			im, err := classic.Read("knockd.conf", []byte("[a]\nsequence = 5001,3001,4001\ncommand = "+command+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			check(t, im)
			if (len(im.Profiles) == 1) != takes {
				t.Errorf("%s: %d profiles\n%v", command, len(im.Profiles), im.Remarks)
			}
		}
	}
}
