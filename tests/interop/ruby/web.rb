# frozen_string_literal: true

# Sidekiq's Web UI on a free port of 127.0.0.1, which is printed.
require "securerandom"
require "rack"
require "rack/session/cookie"
require "rack/handler/webrick"
require_relative "jobs"
require "sidekiq/web"
begin
  require "sidekiq-cron"
  require "sidekiq/cron/web"
rescue LoadError
  nil
end

app = Rack::Builder.new do
  use Rack::Session::Cookie, key: "interop.session", secret: SecureRandom.hex(32), same_site: true
  run Sidekiq::Web
end
log = WEBrick::Log.new($stderr, WEBrick::Log::WARN)
Rack::Handler::WEBrick.run(app, Host: "127.0.0.1", Port: 0, Logger: log, AccessLog: []) do |server|
  $stdout.puts(server.listeners.first.addr[1])
  $stdout.flush
end
