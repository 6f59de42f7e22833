package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/aggregator/apiclient"
)

// apiFlags say which aggregator a command asks. Each is taken from its flag, else from the environment, else from
// ~/.config/postfleet/client, whose lines are url=, token=, token_file= and ca=.
type apiFlags struct {
	url, tokenFile, ca string
}

func (f *apiFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "server", "", "address of the aggregator, https://HOST:PORT (POSTFLEET_URL)")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file with an API token (POSTFLEET_TOKEN_FILE, or the token in POSTFLEET_TOKEN)")
	cmd.Flags().StringVar(&f.ca, "ca", "", "PEM file of who signed the aggregator's certificate (POSTFLEET_CA)")
}

// client connects nowhere yet. An error is the caller's: wrong usage.
func (f *apiFlags) client(getenv func(string) string) (*apiclient.Client, error) {
	stored, err := storedClient(getenv)
	if err != nil {
		return nil, usageError{err}
	}
	o := apiclient.Options{
		URL:    firstOf(f.url, getenv("POSTFLEET_URL"), stored["url"]),
		CAFile: firstOf(f.ca, getenv("POSTFLEET_CA"), stored["ca"]),
	}
	if o.URL == "" {
		return nil, usageError{errors.New("no aggregator to ask: give --server or POSTFLEET_URL, or write url= into ~/.config/postfleet/client")}
	}
	if o.Token, err = f.token(getenv, stored); err != nil {
		return nil, usageError{err}
	}
	client, err := apiclient.New(o)
	if err != nil {
		return nil, usageError{err}
	}
	return client, nil
}

func (f *apiFlags) token(getenv func(string) string, stored map[string]string) (string, error) {
	path := f.tokenFile
	if path == "" {
		if token := getenv("POSTFLEET_TOKEN"); token != "" {
			return token, nil
		}
		path = getenv("POSTFLEET_TOKEN_FILE")
	}
	if path == "" {
		if stored["token"] != "" {
			return stored["token"], nil
		}
		path = stored["token_file"]
	}
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func storedClient(getenv func(string) string) (map[string]string, error) {
	dir := getenv("XDG_CONFIG_HOME")
	if dir == "" {
		dir = filepath.Join(getenv("HOME"), ".config")
	}
	path := filepath.Join(dir, "postfleet", "client")
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	values := map[string]string{}
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		switch key = strings.TrimSpace(key); {
		case !found, key != "url" && key != "token" && key != "token_file" && key != "ca":
			return nil, fmt.Errorf("%s line %d: expected url=, token=, token_file= or ca=", path, number)
		}
		values[key] = strings.TrimSpace(value)
	}
	return values, lines.Err()
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
