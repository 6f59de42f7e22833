package aggregator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/postfleet/postfleet/aggregator/web"
)

// assets are the static files. Their address holds a digest of all of them, so that browsers may keep them for ever and
// still see a new version at once.
type assets struct {
	prefix string // /static/DIGEST/
	files  map[string][]byte
}

const assetRoot = "static"

func newAssets() (*assets, error) {
	a := &assets{files: map[string][]byte{}}
	digest := sha256.New()
	err := fs.WalkDir(web.Files, assetRoot, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := web.Files.ReadFile(name)
		if err != nil {
			return err
		}
		name = strings.TrimPrefix(name, assetRoot+"/")
		a.files[name] = content
		fmt.Fprintf(digest, "%s %d\n", name, len(content))
		digest.Write(content)
		return nil
	})
	a.prefix = "/" + assetRoot + "/" + hex.EncodeToString(digest.Sum(nil))[:12] + "/"
	return a, err
}

// link is the address of a file; a template that names a missing one fails its test.
func (a *assets) link(name string) (string, error) {
	if _, ok := a.files[name]; !ok {
		return "", fmt.Errorf("no static file %s", name)
	}
	return a.prefix + name, nil
}

var assetTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", "": "text/plain; charset=utf-8", ".LICENSE": "text/plain; charset=utf-8"}

func (s *Server) pageAsset(w http.ResponseWriter, r *http.Request) {
	a := s.pages.assets
	name, current := strings.CutPrefix(r.URL.Path, a.prefix)
	if !current { // an address of another version: the file as it is now, for this once
		_, name, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"+assetRoot+"/"), "/")
	}
	content, ok := a.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", assetTypes[path.Ext(name)])
	if current {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		w.Header().Set("Cache-Control", "no-cache")
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	_, _ = w.Write(content) // the browser may be gone; nobody else to tell
}
