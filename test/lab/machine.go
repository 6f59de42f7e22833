package lab

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Machine is a host of a Network that booted: Debian with systemd as its first process, a file system, journal and address
// of its own. It is reached by ssh, as real ones are.
type Machine struct {
	Name string
	IP   string

	network *Network
	key     string
	process *Process
}

// MachineOptions describe a machine.
type MachineOptions struct {
	Name   string
	IP     string // an address of the network
	Base   string // directory with a root file system, which stays as it is; see DebianRoot
	Key    string // path of an ssh key; Key.pub may sign in as root
	Mirror string // base URL of the one apt repository
	DNS    string // name server; empty: none
}

// machineScript mounts the overlay where nobody else sees it, so that it is gone with the processes, and runs the machine until
// it powers off: systemd-nspawn ends with 133 for a reboot (EXIT_FORCE_RESTART), and is itself ended when this shell is. The
// end of the lab is a pulled plug: an orderly shutdown waits for services that wait for other machines, and tests nothing. What
// has to be killed is the machine's first process, which would outlive systemd-nspawn.
const machineScript = `
base=$1 dir=$2
shift 2
mount -t overlay overlay -o "lowerdir=$base,upperdir=$dir/upper,workdir=$dir/work" "$dir/root" || exit
trap 'kill -KILL $(cat "/proc/$machine/task/$machine/children"); wait "$machine"; exit' TERM
while :; do
	setpriv --pdeathsig KILL -- systemd-nspawn "$@" &
	machine=$!
	wait "$machine"
	[ $? -eq 133 ] || exit
done
`

// StartMachine boots a machine and waits until ssh answers.
func (n *Network) StartMachine(ctx context.Context, opts MachineOptions) (*Machine, error) {
	m := &Machine{Name: opts.Name, IP: opts.IP, network: n, key: opts.Key}
	if err := n.address(ctx); err != nil {
		return nil, err
	}
	for _, dir := range []string{"upper", "work", "root"} {
		if _, err := n.lab.Mkdir("machine-"+m.Name, dir); err != nil {
			return nil, err
		}
	}
	if err := m.configure(opts); err != nil {
		return nil, fmt.Errorf("make machine %s: %w", m.Name, err)
	}
	dir := n.lab.Path("machine-" + m.Name)
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", machineScript, "sh", opts.Base, dir, "--quiet", "--register=no", "--keep-unit",
		"--console=pipe", "--network-bridge=br0", "--machine="+m.Name, "--directory="+dir+"/root", "--boot")
	var err error
	if m.process, err = n.lab.startCommand("machine-"+m.Name, &Host{Name: m.Name, inner: n.inner}, cmd); err != nil {
		return nil, err
	}
	return m, m.process.Ready(ctx, m.booted)
}

// address gives the switch the last address of the network, from which ssh reaches the machines.
func (n *Network) address(ctx context.Context) error {
	last := n.Prefix.Addr().As4()
	last[3] = 254
	return n.run(ctx, "address", "replace", fmt.Sprintf("%s/%d", netip.AddrFrom4(last), n.Prefix.Bits()), "dev", "br0")
}

// configure writes what makes the base this machine.
func (m *Machine) configure(opts MachineOptions) error {
	public, err := os.ReadFile(opts.Key + ".pub")
	if err != nil {
		return err
	}
	// Interfaces that nspawn makes are called host0.
	network := fmt.Sprintf("[Match]\nName=host0\n[Network]\nAddress=%s/%d\nLinkLocalAddressing=no\n", m.IP, m.network.Prefix.Bits())
	resolver := ""
	if opts.DNS != "" {
		resolver = "nameserver " + opts.DNS + "\noptions timeout:1 attempts:2\n"
	}
	for path, text := range map[string]string{
		"etc/hostname":                         m.Name + "\n",
		"etc/hosts":                            fmt.Sprintf("127.0.0.1 localhost\n%s %s %s\n", m.IP, m.Name, strings.Split(m.Name, ".")[0]),
		"etc/resolv.conf":                      resolver,
		"etc/apt/sources.list":                 fmt.Sprintf("deb [trusted=yes] %s ./\n", opts.Mirror),
		"etc/systemd/network/10-lab.network":   network,
		"etc/ssh/sshd_config.d/lab.conf":       "UseDNS no\nMaxStartups 100\n",
		"etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n",
		"root/.ssh/authorized_keys":            string(public),
	} {
		file := m.file(path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	wants := m.file("etc/systemd/system/multi-user.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	return os.Symlink("/lib/systemd/system/systemd-networkd.service", filepath.Join(wants, "systemd-networkd.service"))
}

// file is a path on the machine before it boots.
func (m *Machine) file(path string) string {
	return m.network.lab.Path("machine-"+m.Name, "upper", path)
}

// booted is a check for Until: ssh answers, and systemd has started everything.
func (m *Machine) booted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	state, err := m.Run(ctx, "systemctl is-system-running || true")
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(string(state)); text != "running" {
		return fmt.Errorf("machine %s is %s", m.Name, text)
	}
	return nil
}

// SSH are the arguments with which ssh reaches machines from a Host of their network.
func SSH(key string) []string {
	return []string{"-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5"}
}

// Run runs a shell command on the machine, over ssh, and returns what it printed.
func (m *Machine) Run(ctx context.Context, command string) (out []byte, err error) {
	err = m.network.inner.do(func() error {
		out, err = m.network.lab.Run(ctx, "ssh", append(SSH(m.key), "root@"+m.IP, command)...)
		return err
	})
	if err != nil {
		return out, fmt.Errorf("on %s: %w\n%s", m.Name, err, out)
	}
	return out, nil
}

// Put writes a file on the running machine.
func (m *Machine) Put(ctx context.Context, local, remote string) error {
	return m.network.inner.do(func() error {
		_, err := m.network.lab.Run(ctx, "scp", append(SSH(m.key), "-q", local, "root@"+m.IP+":"+remote)...)
		return err
	})
}

// Reboot restarts the machine from within and waits until it is up again.
func (m *Machine) Reboot(ctx context.Context) error {
	before, err := m.Run(ctx, "cat /proc/sys/kernel/random/boot_id; stat -c %Y /run/systemd/system")
	if err != nil {
		return err
	}
	if _, err := m.Run(ctx, "systemd-run --quiet --on-active=100ms systemctl reboot"); err != nil {
		return err
	}
	return m.process.Ready(ctx, func(ctx context.Context) error {
		now, err := m.Run(ctx, "cat /proc/sys/kernel/random/boot_id; stat -c %Y /run/systemd/system")
		if err != nil {
			return err
		}
		if string(now) == string(before) {
			return errors.New("not down yet")
		}
		return m.booted(ctx)
	})
}

// rootPackages are what a machine has before anybody installs something: what a bare server of a hoster has.
const rootPackages = "systemd,systemd-sysv,dbus,openssh-server,python3,iproute2,ca-certificates,procps"

// DebianRoot makes a Debian root file system in a directory of the cache, once, with debootstrap(8).
func DebianRoot(ctx context.Context, cache, suite string) (string, error) {
	root := filepath.Join(cache, "debian-"+suite+"-1")
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	lock, err := lockDir(cache)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	making := root + ".making"
	if err := os.RemoveAll(making); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+rootPackages, suite, making).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("debootstrap: %w\n%s", err, out[max(0, len(out)-2000):])
	}
	return root, os.Rename(making, root)
}

// lockDir lets one process at a time work in a directory.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lock.Name(), err), lock.Close())
	}
	return lock, nil
}

// DebianPackages downloads packages, with all that they depend on and the root doesn't have, into a directory of the cache,
// once for each list, and makes an apt repository of it.
func DebianPackages(ctx context.Context, cache, root string, names []string) (string, error) {
	dir := filepath.Join(cache, "debs-"+strconv.FormatUint(hash(root+strings.Join(names, " ")), 36))
	if _, err := os.Stat(filepath.Join(dir, "Packages")); err == nil {
		return dir, nil
	}
	lock, err := lockDir(cache)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
		return "", err
	}
	// In a copy of the root, thrown away afterwards, so that apt knows what is there.
	work, err := os.MkdirTemp("", "postfleet-debs-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	script := fmt.Sprintf(`set -e
mkdir %[1]s/upper %[1]s/work %[1]s/root
mount -t overlay overlay -o lowerdir=%[2]s,upperdir=%[1]s/upper,workdir=%[1]s/work %[1]s/root
mount --bind %[3]s %[1]s/root/mnt
mount -t proc proc %[1]s/root/proc
cp /etc/resolv.conf %[1]s/root/etc/resolv.conf
chroot %[1]s/root apt-get update -q
chroot %[1]s/root apt-get install -q -y --no-install-recommends --download-only -o Dir::Cache::archives=/mnt %[4]s
`, work, root, dir, strings.Join(names, " "))
	out, err := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "sh", "-c", script).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("download %s: %w\n%s", strings.Join(names, " "), err, out[max(0, len(out)-2000):])
	}
	return dir, IndexPackages(ctx, dir)
}

// IndexPackages makes a directory of .debs an apt repository, to be named as "deb [trusted=yes] URL ./".
func IndexPackages(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "dpkg-scanpackages", "--multiversion", ".")
	cmd.Dir = dir
	var problems strings.Builder
	cmd.Stderr = &problems
	index, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("dpkg-scanpackages of the package dpkg-dev: %w: %s", err, problems.String())
	}
	next := filepath.Join(dir, ".Packages")
	if err := os.WriteFile(next, index, 0o644); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(dir, "Packages"))
}

func hash(text string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	return h.Sum64()
}
