package format

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"

	"knockkit/internal/files"
	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// servicesFile lists the names of ports on Unix systems.
const servicesFile = "/etc/services"

// maxServicesSize is ten times the size of the largest known file.
const maxServicesSize = 4 << 20

// lookupService returns the port of a service. Our own list comes first, so that a profile means the
// same port on the server and on every client: macOS, Windows, and containers without the file
// included. Other names are looked up in /etc/services.
func lookupService(name string, proto protocol.Proto) (port uint16, ok bool) {
	if port, ok = findCommon(name, proto); ok {
		return port, true
	}
	return findInFile(name, proto)
}

// ServicePorts returns the ports of a service, of TCP and UDP as far as it has them; none where the
// name is not known. Beside the names that a profile may say it knows those by which people call
// what they put behind a gate.
func ServicePorts(name string) []protocol.PortRange {
	var all []protocol.PortRange
	for _, find := range []func(string, protocol.Proto) (uint16, bool){findCommon, findPopular, findInFile} {
		for _, proto := range []protocol.Proto{protocol.TCP, protocol.UDP} {
			if port, ok := find(name, proto); ok {
				all = append(all, protocol.PortRange{Proto: proto, First: port, Last: port})
			}
		}
		if len(all) > 0 {
			break
		}
	}
	return all
}

// ClosestService returns the name that [ServicePorts] knows and that was likely meant, "" when none
// is near. It knows our lists only, so that a hint is the same everywhere.
func ClosestService(name string) string {
	all := append(serviceNames(commonServices, protocol.TCP), serviceNames(commonServices, protocol.UDP)...)
	all = append(all, serviceNames(popularServices, protocol.TCP)...)
	return tomldoc.Closest(name, append(all, serviceNames(popularServices, protocol.UDP)...))
}

func findCommon(name string, proto protocol.Proto) (uint16, bool) {
	return findService(strings.NewReader(commonServices), name, proto)
}

func findPopular(name string, proto protocol.Proto) (uint16, bool) {
	return findService(strings.NewReader(popularServices), name, proto)
}

func findInFile(name string, proto protocol.Proto) (uint16, bool) {
	text, err := files.Read(servicesFile, maxServicesSize)
	if err != nil {
		return 0, false
	}
	return findService(bytes.NewReader(text), name, proto)
}

// findService reads lines in the form of /etc/services: a name, "PORT/PROTO",
// and other names of the same port.
func findService(r io.Reader, name string, proto protocol.Proto) (port uint16, ok bool) {
	eachService(r, func(names []string, p uint16, its protocol.Proto) bool {
		if its == proto && slices.Contains(names, name) {
			port, ok = p, true
		}
		return !ok
	})
	return port, ok
}

func eachService(r io.Reader, visit func(names []string, port uint16, proto protocol.Proto) bool) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		number, its, _ := strings.Cut(words[1], "/")
		port, err := strconv.ParseUint(number, 10, 16)
		proto, known := protocol.ParseProto(its)
		if err != nil || port == 0 || !known || proto == protocol.ICMP {
			continue
		}
		if !visit(append(words[:1:1], words[2:]...), uint16(port), proto) {
			return
		}
	}
}

// serviceNames returns the names of a list in the form of /etc/services.
func serviceNames(list string, proto protocol.Proto) []string {
	var all []string
	eachService(strings.NewReader(list), func(names []string, _ uint16, its protocol.Proto) bool {
		if its == proto {
			all = append(all, names...)
		}
		return true
	})
	return all
}

// popularServices are names that no authority registered, or that /etc/services of some systems
// lacks: for [ServicePorts] only, since the profile that is made of them has numbers.
const popularServices = `
smb		445/tcp	samba
mariadb		3306/tcp
rdp		3389/tcp
vnc		5900/tcp
elasticsearch	9200/tcp
webmin		10000/tcp
memcached	11211/tcp
minecraft	25565/tcp
mongodb		27017/tcp	mongo
wireguard	51820/udp
`

// commonServices is in the form of /etc/services: the names that the Internet
// Assigned Numbers Authority registered, for ports that profiles are likely to
// knock on or open.
const commonServices = `
tcpmux		1/tcp
echo		7/tcp
echo		7/udp
discard		9/tcp	sink null
discard		9/udp	sink null
systat		11/tcp	users
daytime		13/tcp
daytime		13/udp
netstat		15/tcp
qotd		17/tcp	quote
chargen		19/tcp	ttytst source
chargen		19/udp	ttytst source
ftp-data	20/tcp
ftp		21/tcp
ssh		22/tcp
telnet		23/tcp
smtp		25/tcp	mail
time		37/tcp	timserver
time		37/udp	timserver
whois		43/tcp	nicname
tacacs		49/tcp
tacacs		49/udp
domain		53/tcp
domain		53/udp
bootps		67/udp
bootpc		68/udp
tftp		69/udp
gopher		70/tcp
finger		79/tcp
http		80/tcp	www
kerberos	88/tcp	kerberos5 krb5 kerberos-sec
kerberos	88/udp	kerberos5 krb5 kerberos-sec
pop3		110/tcp	pop-3
sunrpc		111/tcp	portmapper
sunrpc		111/udp	portmapper
auth		113/tcp	authentication tap ident
nntp		119/tcp	readnews untp
ntp		123/udp
epmap		135/tcp	loc-srv
netbios-ns	137/udp
netbios-dgm	138/udp
netbios-ssn	139/tcp
imap2		143/tcp	imap
snmp		161/tcp
snmp		161/udp
snmp-trap	162/tcp	snmptrap
snmp-trap	162/udp	snmptrap
bgp		179/tcp
ldap		389/tcp
ldap		389/udp
svrloc		427/tcp
svrloc		427/udp
https		443/tcp
https		443/udp
microsoft-ds	445/tcp
submissions	465/tcp	ssmtp smtps urd
isakmp		500/udp
exec		512/tcp
login		513/tcp
shell		514/tcp	cmd syslog
syslog		514/udp
printer		515/tcp	spooler
rtsp		554/tcp
rtsp		554/udp
submission	587/tcp
ipp		631/tcp
ldaps		636/tcp
ldaps		636/udp
domain-s	853/tcp
domain-s	853/udp
rsync		873/tcp
ftps		990/tcp
imaps		993/tcp
pop3s		995/tcp
socks		1080/tcp
openvpn		1194/tcp
openvpn		1194/udp
ms-sql-s	1433/tcp
ms-sql-m	1434/udp
l2f		1701/udp	l2tp
radius		1812/tcp
radius		1812/udp
radius-acct	1813/tcp	radacct
radius-acct	1813/udp	radacct
nfs		2049/tcp
nfs		2049/udp
iscsi-target	3260/tcp
mysql		3306/tcp
ms-wbt-server	3389/tcp
svn		3690/tcp	subversion
epmd		4369/tcp
ipsec-nat-t	4500/udp
sip		5060/tcp
sip		5060/udp
sip-tls		5061/tcp
sip-tls		5061/udp
xmpp-client	5222/tcp	jabber-client
xmpp-server	5269/tcp	jabber-server
mdns		5353/udp
postgresql	5432/tcp	postgres
amqps		5671/tcp
amqp		5672/tcp
x11		6000/tcp	x11-0
redis		6379/tcp
ircd		6667/tcp
http-alt	8080/tcp	webcache
git		9418/tcp
`
