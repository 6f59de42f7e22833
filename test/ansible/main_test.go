package ansible

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/postfleet/postfleet/test/lab"
)

// binary is postfleet.
var binary string

func TestMain(m *testing.M) { os.Exit(lab.Main(m, &binary)) }

// playbook is ansible-playbook with the project's settings; home is a directory for what it keeps.
func playbook(ctx context.Context, home, inventory string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ansible-playbook", append([]string{"-i", inventory}, args...)...)
	cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG="+directory+"/ansible.cfg", "ANSIBLE_NOCOLOR=1", "LC_ALL=C.UTF-8", "HOME="+home,
		"ANSIBLE_HOME="+home+"/.ansible", "ANSIBLE_ASYNC_DIR="+home+"/.ansible_async")
	return cmd
}
